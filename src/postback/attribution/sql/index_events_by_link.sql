-- Makes the events of a span findable by what refunds find their purchases with.
INSERT INTO event_by_link
SELECT
    {account_id:String}, event_type,
    arrayJoin(
        arrayConcat([sipHash64('event_id', event_id)], if(order_id = '', [], [sipHash64('order_id', order_id)]))
    ),
    event_source_id, event_id
FROM named_event
WHERE account_id = {account_id:String} AND event_source_id IN {event_source_ids:Array(String)}
    AND received_at > fromUnixTimestamp64Micro({after:Int64}, 'UTC')
    AND received_at <= fromUnixTimestamp64Micro({through:Int64}, 'UTC')
