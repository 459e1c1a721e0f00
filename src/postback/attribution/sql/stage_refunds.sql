-- The refunds that may undo a new event which no goal names: it may be the purchase that they follow.
INSERT INTO run_target
SELECT DISTINCT event_source_id, event_type, event_id
FROM event_by_link
WHERE account_id = {account_id:String} AND event_type IN {refund_types:Array(String)} AND link IN
(
    SELECT arrayJoin(
        arrayConcat([sipHash64('event_id', event_id)], if(order_id = '', [], [sipHash64('order_id', order_id)]))
    )
    FROM named_event
    WHERE account_id = {account_id:String} AND event_source_id IN {event_source_ids:Array(String)}
        AND received_at > fromUnixTimestamp64Micro({after:Int64}, 'UTC')
        AND received_at <= fromUnixTimestamp64Micro({through:Int64}, 'UTC')
        AND event_kind = 0
)
