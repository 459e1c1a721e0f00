-- The new exposures, as the index of exposures takes them.
SELECT
    exposure_id, toString(media_buy_id) AS media_buy_id, toString(package_id) AS package_id,
    toString(creative_id) AS creative_id, toUInt8(kind = 'click') AS click, toUnixTimestamp64Micro(occurred_at) AS at, match_keys
FROM run_exposure
WHERE exposure_id NOT IN (SELECT exposure_id FROM run_known_exposure)
