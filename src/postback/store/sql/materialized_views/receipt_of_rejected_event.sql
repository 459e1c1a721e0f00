-- Each rejected event as it was received, live or a test.
CREATE MATERIALIZED VIEW IF NOT EXISTS receipt_of_rejected_event TO receipt AS
SELECT
    account_id,
    received_at,
    event_source_id,
    event_type,
    event_id,
    test_event_code,
    'rejected' AS outcome,
    reason,
    field,
    message
FROM rejected_event
