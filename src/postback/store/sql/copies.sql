-- The live event of this key and its copies, the earliest first; and how many there are.
SELECT
    received_at, event_time, custom_event_name, action_source, custom_data, arraySort(match_keys) AS sorted_keys,
    count() OVER () AS stored
FROM event FINAL
WHERE account_id = {account_id:String} AND event_source_id = {event_source_id:String}
    AND event_type = {event_type:String} AND event_id = {event_id:String}
ORDER BY received_at
LIMIT 1000
