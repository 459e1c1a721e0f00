-- The other sources that logged an event, of those that goals name together with its own.
SELECT DISTINCT event_source_id
FROM attribution
WHERE account_id = {account_id:String} AND event_hash = sipHash64({event_type:String}, {event_id:String})
    AND event_type = {event_type:String} AND event_id = {event_id:String} AND event_source_id != {event_source_id:String}
    AND event_source_id IN {linked:Array(String)}
ORDER BY event_source_id
