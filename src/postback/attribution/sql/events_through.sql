-- Where a span of at most so many events ends, in µs since the epoch; 0 when none is new.
SELECT toUnixTimestamp64Micro(max(received_at))
FROM
(
    SELECT received_at
    FROM event
    WHERE account_id = {account_id:String} AND received_at > fromUnixTimestamp64Micro({after:Int64}, 'UTC')
        AND received_at <= fromUnixTimestamp64Micro({newest:Int64}, 'UTC')
    ORDER BY received_at
    LIMIT {most:UInt64}
)
