-- Per account, when its newest event and exposure arrived, of those that are newer than given and arrived by a time; in µs since the epoch.
SELECT account_id, max(event), max(exposure)
FROM
(
    SELECT account_id, toUnixTimestamp64Micro(max(received_at)) AS event, 0 AS exposure
    FROM event
    WHERE received_at > fromUnixTimestamp64Micro({events:Int64}, 'UTC')
        AND received_at <= fromUnixTimestamp64Micro({through:Int64}, 'UTC')
    GROUP BY account_id
    UNION ALL
    SELECT account_id, 0, toUnixTimestamp64Micro(max(received_at))
    FROM exposure
    WHERE received_at > fromUnixTimestamp64Micro({exposures:Int64}, 'UTC')
        AND received_at <= fromUnixTimestamp64Micro({through:Int64}, 'UTC')
    GROUP BY account_id
)
GROUP BY account_id
