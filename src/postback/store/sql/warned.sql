-- Per source and code of a warning: how many live events of a span of time have it, the first and the last of them.
SELECT event_source_id, arrayJoin(warnings) AS code, count(), min(received_at), max(received_at)
FROM receipt
WHERE account_id = {account_id:String}
    AND received_at >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')
    AND received_at < fromUnixTimestamp64Micro({until:Int64}, 'UTC')
    AND ({event_source_id:String} = '' OR event_source_id = {event_source_id:String})
    AND notEmpty(warnings) AND test_event_code = ''
GROUP BY event_source_id, code
ORDER BY count() DESC, code, event_source_id
