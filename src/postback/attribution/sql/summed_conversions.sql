-- Whether a run has added its conversions to the sums by hour.
SELECT max(run_id) >= {run_id:UInt64} FROM conversion_hour WHERE account_id = {account_id:String} AND media_buy_id = ''
