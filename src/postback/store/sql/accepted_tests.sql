-- The test events of this key, newest first.
SELECT
    test_event_code, received_at, event_time, quality, warnings, custom_event_name, false AS dropped,
    arrayMap(key -> reinterpretAsUInt8(substring(key, 1, 1)), match_keys) AS kinds,
    match_keys
FROM test_event FINAL
WHERE account_id = {account_id:String} AND event_source_id = {event_source_id:String}
    AND event_type = {event_type:String} AND event_id = {event_id:String}
    AND received_at > now64(6, 'UTC') - INTERVAL 7 DAY
ORDER BY received_at DESC
LIMIT 10
