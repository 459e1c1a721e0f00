-- Makes the new exposures findable by their match keys.
INSERT INTO exposure_by_key
SELECT {account_id:String}, arrayJoin(match_keys), occurred_at, exposure_id, kind, media_buy_id, package_id, creative_id
FROM run_exposure
WHERE exposure_id NOT IN (SELECT exposure_id FROM run_known_exposure)
