-- Copies what counts in packages whose numbers are final.
INSERT INTO attribution
SELECT *
FROM default.attribution FINAL
WHERE account_id = {account_id:String} AND value_reason != 'FINAL'
    AND (media_buy_id, package_id) IN arrayZip({media_buy_ids:Array(String)}, {package_ids:Array(String)})
