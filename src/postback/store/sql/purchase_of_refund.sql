-- An event that a refund may mean, in these sources or in all others: one with its event_id, else one of the last 30 days with its order_id.
SELECT event_source_id, event_type, event_id
FROM
(
    SELECT event_source_id, event_type, event_id, 0 AS by_order, received_at
    FROM event
    WHERE account_id = {account_id:String} AND (event_source_id IN {searched:Array(String)}) != {elsewhere:Bool}
        AND event_type != 'refund' AND event_id = {event_id:String}
    UNION ALL
    SELECT event_source_id, event_type, event_id, 1 AS by_order, received_at
    FROM event
    WHERE {order_id:String} != '' AND account_id = {account_id:String}
        AND (event_source_id IN {searched:Array(String)}) != {elsewhere:Bool} AND event_type != 'refund'
        AND received_at > fromUnixTimestamp64Micro({received_at:Int64}, 'UTC') - INTERVAL 30 DAY
        AND JSONExtractString(custom_data, 'order_id') = {order_id:String}
)
ORDER BY by_order, event_type != 'purchase', received_at
LIMIT 1
