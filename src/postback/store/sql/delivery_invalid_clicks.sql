-- The clicks on packages' click links that don't count, by reason.
SELECT account_id, media_buy_id, package_id, reason, sum(clicks)
FROM invalid_click
WHERE (account_id, media_buy_id) IN arrayZip({account_ids:Array(String)}, {media_buy_ids:Array(String)})
    AND hour >= {start:DateTime('UTC')} AND hour < {end:DateTime('UTC')}
GROUP BY account_id, media_buy_id, package_id, reason
