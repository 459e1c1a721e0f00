-- Counts rejected live events.
CREATE MATERIALIZED VIEW IF NOT EXISTS source_activity_of_rejected_event TO source_activity AS
SELECT
    account_id,
    event_source_id,
    toStartOfMinute(received_at) AS minute,
    count() AS rejected
FROM rejected_event
WHERE test_event_code = ''
GROUP BY account_id, event_source_id, minute
