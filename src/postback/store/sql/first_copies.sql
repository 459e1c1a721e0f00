-- Of events with these ids the first copies, live or of one test: when they arrived and what they say.
SELECT event_type, event_id, received_at, event_time, custom_event_name, custom_data
FROM
(
    SELECT event_type, event_id, received_at, event_time, custom_event_name, custom_data
    FROM event
    WHERE {test_event_code:String} = '' AND account_id = {account_id:String}
        AND event_source_id = {event_source_id:String} AND event_type IN {event_types:Array(String)}
        AND event_id IN {event_ids:Array(String)}
    UNION ALL
    SELECT event_type, event_id, received_at, event_time, custom_event_name, custom_data
    FROM test_event
    WHERE {test_event_code:String} != '' AND account_id = {account_id:String}
        AND event_source_id = {event_source_id:String} AND event_type IN {event_types:Array(String)}
        AND event_id IN {event_ids:Array(String)} AND test_event_code = {test_event_code:String}
)
ORDER BY received_at
LIMIT 1 BY event_type, event_id
