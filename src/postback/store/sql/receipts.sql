-- What was received for an account in a span of time, newest first: everything, or what fits the filters.
SELECT
    received_at, event_source_id, event_type, event_id, test_event_code, outcome, quality, warnings, reason, field, message
FROM receipt
WHERE account_id = {account_id:String}
    AND received_at > greatest(now64(6, 'UTC') - INTERVAL 30 DAY, fromUnixTimestamp64Micro({after:Int64}, 'UTC'))
    AND received_at < fromUnixTimestamp64Micro({before:Int64}, 'UTC')
    AND (test_event_code = '' OR received_at > now64(6, 'UTC') - INTERVAL 7 DAY)
    AND ({event_source_id:String} = '' OR event_source_id = {event_source_id:String})
    AND ({event_type:String} = '' OR event_type = {event_type:String})
    AND ({test_event_code:String} = '' OR test_event_code = {test_event_code:String})
    AND ({outcome:String} = '' OR outcome = {outcome:String})
    AND ({code:String} = '' OR reason = {code:String} OR has(warnings, {code:String}))
    AND ({field:String} = '' OR field = {field:String})
    AND ({text:String} = '' OR positionCaseInsensitiveUTF8(event_id, {text:String}) > 0)
ORDER BY received_at DESC
LIMIT {most:UInt32}
