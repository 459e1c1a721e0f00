-- Other events of this type with this order_id, from these sources, received within 7 days of a moment; the earliest first. What was received in the last 30 days is found by the hash of its order_id alone, so that no payload is read.
SELECT event_source_id, event_id, min(received_at) AS first_at
FROM
(
    SELECT event_source_id, event_id, received_at
    FROM receipt
    WHERE account_id = {account_id:String} AND event_source_id IN {event_source_ids:Array(String)}
        AND event_type = {event_type:String} AND event_id != {event_id:String}
        AND received_at > fromUnixTimestamp64Micro({received_at:Int64}, 'UTC') - INTERVAL 7 DAY
        AND received_at < fromUnixTimestamp64Micro({received_at:Int64}, 'UTC') + INTERVAL 7 DAY
        AND fromUnixTimestamp64Micro({received_at:Int64}, 'UTC') >= now64(6, 'UTC') - INTERVAL 22 DAY
        AND order_hash = sipHash64({order_id:String}) AND test_event_code = ''
    UNION ALL
    SELECT event_source_id, event_id, received_at
    FROM event
    WHERE account_id = {account_id:String} AND event_source_id IN {event_source_ids:Array(String)}
        AND event_type = {event_type:String} AND event_id != {event_id:String}
        AND received_at > fromUnixTimestamp64Micro({received_at:Int64}, 'UTC') - INTERVAL 7 DAY
        AND received_at < fromUnixTimestamp64Micro({received_at:Int64}, 'UTC') + INTERVAL 7 DAY
        AND fromUnixTimestamp64Micro({received_at:Int64}, 'UTC') < now64(6, 'UTC') - INTERVAL 22 DAY
        AND JSONExtractString(custom_data, 'order_id') = {order_id:String}
)
GROUP BY event_source_id, event_id
ORDER BY first_at
LIMIT 20
