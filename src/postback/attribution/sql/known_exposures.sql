-- The new exposures whose id was stored before.
INSERT INTO run_known_exposure
SELECT exposure_id
FROM exposure
WHERE account_id = {account_id:String}
    AND exposure_hash IN (SELECT sipHash64(exposure_id) FROM run_exposure)
    AND received_at <= fromUnixTimestamp64Micro({after:Int64}, 'UTC')
    AND exposure_id IN (SELECT exposure_id FROM run_exposure)
