-- Counts accepted live events; a copy counts again, because it was received again.
CREATE MATERIALIZED VIEW IF NOT EXISTS source_activity_of_event TO source_activity AS
SELECT
    account_id,
    event_source_id,
    toStartOfMinute(received_at) AS minute,
    count() AS accepted,
    countIf(duplicate > 0) AS duplicates,
    countIf(duplicate = 2) AS different,
    countIf(has(warnings, 'FROM_BROWSER')) AS from_browser,
    sum(toFloat64(quality)) AS quality,
    max(received_at) AS last_event_at
FROM event
GROUP BY account_id, event_source_id, minute
