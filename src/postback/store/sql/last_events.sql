-- Per source of an account: when the last accepted event arrived.
SELECT event_source_id, max(last_event_at)
FROM source_activity
WHERE account_id = {account_id:String}
GROUP BY event_source_id
