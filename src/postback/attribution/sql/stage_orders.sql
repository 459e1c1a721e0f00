-- The events that have an event_id or order_id in common with these and with a refund: a refund and its purchases are attributed together.
INSERT INTO run_target
SELECT DISTINCT event_source_id, event_type, event_id
FROM event_by_link
WHERE account_id = {account_id:String}
    AND link IN
    (
        SELECT link
        FROM event_by_link
        WHERE account_id = {account_id:String} AND event_type IN {refund_types:Array(String)} AND link IN
        (
            SELECT arrayJoin(
                arrayConcat([sipHash64('event_id', event_id)], if(order_id = '', [], [sipHash64('order_id', order_id)]))
            )
            FROM run_event
        )
    )
    AND (event_source_id, event_type, event_id) NOT IN
    (
        SELECT event_source_id, event_type, event_id FROM run_event
        UNION ALL
        SELECT event_source_id, event_type, event_id FROM run_target
    )
