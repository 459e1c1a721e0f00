-- Which events of these accounts have this event_id, live, as a test or rejected; or, of the last 30 days, this order_id.
SELECT DISTINCT account_id, event_source_id, event_type, event_id
FROM
(
    SELECT account_id, event_source_id, event_type, event_id FROM event
    WHERE account_id IN {account_ids:Array(String)} AND event_id = {id:String}
    UNION ALL
    SELECT account_id, event_source_id, event_type, event_id FROM test_event
    WHERE account_id IN {account_ids:Array(String)} AND event_id = {id:String}
        AND received_at > now64(6, 'UTC') - INTERVAL 7 DAY
    UNION ALL
    SELECT account_id, event_source_id, event_type, event_id FROM rejected_event
    WHERE account_id IN {account_ids:Array(String)} AND event_id = {id:String} AND event_type != ''
        AND received_at > now64(6, 'UTC') - INTERVAL 30 DAY
    UNION ALL
    SELECT account_id, event_source_id, event_type, event_id FROM receipt
    WHERE account_id IN {account_ids:Array(String)} AND order_hash = sipHash64({id:String})
        AND (test_event_code = '' OR received_at > now64(6, 'UTC') - INTERVAL 7 DAY)
)
WHERE ({event_source_id:String} = '' OR event_source_id = {event_source_id:String})
    AND ({event_type:String} = '' OR event_type = {event_type:String})
ORDER BY event_id != {id:String}, account_id, event_source_id, event_type, event_id
LIMIT {most:UInt32}
