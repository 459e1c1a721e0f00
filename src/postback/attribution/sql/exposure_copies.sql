-- Exposures that came several times, and lately too: what the first one has, with the match keys of all copies, at most 64. Reused: several kinds, media buys or packages have the id.
SELECT
    exposure_id, first.1 AS media_buy_id, first.2 AS package_id, first.3 AS creative_id, first.4 AS click, first.5 AS at,
    match_keys, reused
FROM
(
    SELECT
        exposure_id,
        argMin(
            tuple(
                toString(media_buy_id), toString(package_id), toString(creative_id), toUInt8(kind = 'click'),
                toUnixTimestamp64Micro(occurred_at)
            ),
            received_at
        ) AS first,
        arraySlice(
            arrayDistinct(arrayFlatten(arrayMap(copy -> copy.2, arraySort(groupArray((received_at, match_keys)))))), 1, 64
        ) AS match_keys,
        toUInt8(uniqExact(kind, media_buy_id, package_id) > 1) AS reused
    FROM exposure
    WHERE account_id = {account_id:String}
        AND received_at <= fromUnixTimestamp64Micro({through:Int64}, 'UTC')
        AND exposure_hash IN
        (
            SELECT sipHash64(exposure_id) FROM run_known_exposure
            UNION ALL
            SELECT exposure_hash FROM run_repeated_exposure
        )
    GROUP BY exposure_id
    HAVING count() > 1
)
