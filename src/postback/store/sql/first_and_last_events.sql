-- Of a source: the minute in which its first event came, and when its last accepted one did.
SELECT min(minute), max(last_event_at)
FROM source_activity
WHERE account_id = {account_id:String} AND event_source_id = {event_source_id:String}
HAVING count() > 0
