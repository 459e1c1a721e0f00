-- The newest run that an account has outcomes of; 0 for none.
SELECT max(run_id) FROM attribution WHERE account_id = {account_id:String}
