-- Where a span of at most so many stored events of one source and type ends, in the order of their ids; empty at the end.
SELECT event_id
FROM event
WHERE account_id = {account_id:String} AND event_source_id = {event_source_id:String} AND event_type = {event_type:String}
    AND event_id > {after:String}
ORDER BY event_id
LIMIT 1 OFFSET {most:UInt64}
