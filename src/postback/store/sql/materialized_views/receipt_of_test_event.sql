-- Each accepted test event as it was received.
CREATE MATERIALIZED VIEW IF NOT EXISTS receipt_of_test_event TO receipt AS
SELECT
    account_id,
    received_at,
    event_source_id,
    event_type,
    event_id,
    test_event_code,
    'test' AS outcome,
    quality,
    warnings,
    if(JSONExtractString(custom_data, 'order_id') AS order_id = '', 0, sipHash64(order_id)) AS order_hash
FROM test_event
