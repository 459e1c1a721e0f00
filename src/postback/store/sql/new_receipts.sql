-- What was received for an account in a span of time, newest first.
SELECT
    received_at, event_source_id, event_type, event_id, test_event_code, outcome, quality, warnings, reason, field, message
FROM receipt
WHERE account_id = {account_id:String}
    AND received_at > fromUnixTimestamp64Micro({after:Int64}, 'UTC')
    AND received_at <= fromUnixTimestamp64Micro({through:Int64}, 'UTC')
ORDER BY received_at DESC
LIMIT {most:UInt32}
