-- The exposures that arrived in a span of time, of copies the first; without those of packages that were final by then.
INSERT INTO run_exposure
SELECT exposure_id, kind, occurred_at, media_buy_id, package_id, creative_id, match_keys, cost, currency
FROM
(
    SELECT exposure_id, kind, occurred_at, received_at, media_buy_id, package_id, creative_id, match_keys, cost, currency
    FROM exposure
    WHERE account_id = {account_id:String}
        AND received_at > fromUnixTimestamp64Micro({after:Int64}, 'UTC')
        AND received_at <= fromUnixTimestamp64Micro({through:Int64}, 'UTC')
        AND exposure_hash NOT IN (SELECT exposure_hash FROM run_repeated_exposure)
    UNION ALL
    SELECT *
    FROM
    (
        SELECT
            exposure_id, kind, occurred_at, received_at, media_buy_id, package_id, creative_id, match_keys, cost, currency
        FROM exposure
        WHERE account_id = {account_id:String}
            AND received_at > fromUnixTimestamp64Micro({after:Int64}, 'UTC')
            AND received_at <= fromUnixTimestamp64Micro({through:Int64}, 'UTC')
            AND exposure_hash IN (SELECT exposure_hash FROM run_repeated_exposure)
        ORDER BY received_at
        LIMIT 1 BY exposure_id
    )
) AS first
LEFT JOIN run_frozen AS frozen USING (media_buy_id, package_id)
WHERE toUnixTimestamp64Micro(finalized_at) = 0 OR received_at <= finalized_at
