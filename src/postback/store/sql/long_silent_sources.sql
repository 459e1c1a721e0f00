-- The last minute with an event of every source that had none since a time, but one before.
SELECT account_id, event_source_id, max(minute) AS last_minute
FROM source_activity
GROUP BY account_id, event_source_id
HAVING last_minute < {since:DateTime('UTC')}
