-- Per source of an account: what arrived in the last 24 hours, and when the last event did; the last minute counts rejected ones, too.
SELECT
    event_source_id,
    sumIf(accepted, recent) AS accepted_24h,
    sumIf(rejected, recent) AS rejected_24h,
    sumIf(quality, recent) AS quality_24h,
    max(last_event_at) AS last_at,
    sumIf(duplicates, recent) AS duplicates_24h,
    sumIf(different, recent) AS different_24h,
    sumIf(from_browser, recent) AS from_browser_24h,
    max(minute) AS last_minute
FROM
(
    SELECT *, minute > now('UTC') - INTERVAL 24 HOUR AS recent
    FROM source_activity
    WHERE account_id = {account_id:String}
)
GROUP BY event_source_id
