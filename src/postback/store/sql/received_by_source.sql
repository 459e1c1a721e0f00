-- Per source: how many live events were received in a span of time.
SELECT event_source_id, count()
FROM receipt
WHERE account_id = {account_id:String}
    AND received_at >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')
    AND received_at < fromUnixTimestamp64Micro({until:Int64}, 'UTC')
    AND ({event_source_id:String} = '' OR event_source_id = {event_source_id:String})
    AND test_event_code = ''
GROUP BY event_source_id
ORDER BY event_source_id
