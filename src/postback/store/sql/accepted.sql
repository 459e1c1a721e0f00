-- The live event of this key. Of its match keys only the first bytes, which say the kinds of identifier.
SELECT
    '' AS test_event_code, received_at, event_time, quality, warnings, custom_event_name,
    arrayMap(key -> reinterpretAsUInt8(substring(key, 1, 1)), match_keys) AS kinds
FROM event FINAL
WHERE account_id = {account_id:String} AND event_source_id = {event_source_id:String}
    AND event_type = {event_type:String} AND event_id = {event_id:String}
