-- The hashes of the exposure_ids that came several times in a span of time.
INSERT INTO run_repeated_exposure
SELECT exposure_hash
FROM exposure
WHERE account_id = {account_id:String}
    AND received_at > fromUnixTimestamp64Micro({after:Int64}, 'UTC')
    AND received_at <= fromUnixTimestamp64Micro({through:Int64}, 'UTC')
GROUP BY exposure_hash
HAVING count() > 1
