-- Other events of this type with this order_id, from these sources, received within 7 days of a moment; the earliest first. Those of the last 30 days are found by a hash of their order_id, so that few events are read.
SELECT event_source_id, event_id, min(received_at) AS first_at
FROM event
WHERE account_id = {account_id:String} AND event_source_id IN {event_source_ids:Array(String)}
    AND event_type = {event_type:String} AND event_id != {event_id:String}
    AND received_at > fromUnixTimestamp64Micro({received_at:Int64}, 'UTC') - INTERVAL 7 DAY
    AND received_at < fromUnixTimestamp64Micro({received_at:Int64}, 'UTC') + INTERVAL 7 DAY
    AND (
        fromUnixTimestamp64Micro({received_at:Int64}, 'UTC') < now64(6, 'UTC') - INTERVAL 22 DAY
        OR event_id IN
        (
            SELECT event_id FROM receipt
            WHERE account_id = {account_id:String} AND order_hash = sipHash64({order_id:String})
        )
    )
    AND JSONExtractString(custom_data, 'order_id') = {order_id:String}
GROUP BY event_source_id, event_id
ORDER BY first_at
LIMIT 20
