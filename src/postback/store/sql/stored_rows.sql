-- The live event of this key, its copies and its tests as they are stored, newest first. Of match keys only the first bytes, which say the kinds of identifier.
SELECT
    test_event_code, received_at, event_time, action_source, event_source_url, custom_event_name, custom_data, extra, quality,
    warnings, dropped, arrayMap(key -> reinterpretAsUInt8(substring(key, 1, 1)), match_keys) AS kinds
FROM
(
    SELECT
        '' AS test_event_code, received_at, event_time, action_source, event_source_url, custom_event_name, custom_data,
        extra, quality, warnings, dropped, match_keys
    FROM event FINAL
    WHERE account_id = {account_id:String} AND event_source_id = {event_source_id:String}
        AND event_type = {event_type:String} AND event_id = {event_id:String}
    UNION ALL
    SELECT
        test_event_code, received_at, event_time, action_source, event_source_url, custom_event_name, custom_data,
        extra, quality, warnings, false AS dropped, match_keys
    FROM test_event FINAL
    WHERE account_id = {account_id:String} AND event_source_id = {event_source_id:String}
        AND event_type = {event_type:String} AND event_id = {event_id:String}
        AND received_at > now64(6, 'UTC') - INTERVAL 7 DAY
)
ORDER BY received_at DESC
LIMIT 100
