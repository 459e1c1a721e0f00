-- Whether a run has added its exposures to the sums by hour.
SELECT max(run_id) >= {run_id:UInt64} FROM exposure_hour WHERE account_id = {account_id:String} AND media_buy_id = ''
