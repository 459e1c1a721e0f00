-- How many live events were received in a span of time; of the last thirty days, as with all that is known of each of them.
SELECT sum(accepted) + sum(rejected)
FROM source_activity
WHERE account_id = {account_id:String}
    AND minute > now('UTC') - INTERVAL 30 DAY
    AND minute >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')
    AND minute < fromUnixTimestamp64Micro({until:Int64}, 'UTC')
    AND ({event_source_id:String} = '' OR event_source_id = {event_source_id:String})
