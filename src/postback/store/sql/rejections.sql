-- Per source, reason and field: how many live events were rejected in a span of time, the first and the last of them, and the last one's message.
SELECT event_source_id, reason, field, count(), min(received_at), max(received_at), argMax(message, received_at)
FROM receipt
WHERE account_id = {account_id:String}
    AND received_at >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')
    AND received_at < fromUnixTimestamp64Micro({until:Int64}, 'UTC')
    AND ({event_source_id:String} = '' OR event_source_id = {event_source_id:String})
    AND outcome = 'rejected' AND test_event_code = ''
GROUP BY event_source_id, reason, field
ORDER BY count() DESC, reason, field, event_source_id
