-- Why this key failed last, live or in each test, newest first.
SELECT test_event_code, received_at, reason, field, message
FROM rejected_event FINAL
WHERE account_id = {account_id:String} AND event_source_id = {event_source_id:String}
    AND event_type = {event_type:String} AND event_id = {event_id:String}
    AND received_at > now64(6, 'UTC') - INTERVAL 30 DAY
ORDER BY received_at DESC
LIMIT 10
