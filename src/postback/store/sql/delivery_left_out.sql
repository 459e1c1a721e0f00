-- What the value of packages' conversions leaves out, by reason and currency.
SELECT
    account_id, media_buy_id, package_id, 'conversion_value' AS figure, value_reason AS reason, left_out_currency AS currency,
    sum(left_out_events) AS items, sum(left_out) AS amount
FROM conversion_hour
WHERE (account_id, media_buy_id) IN arrayZip({account_ids:Array(String)}, {media_buy_ids:Array(String)})
    AND hour >= {start:DateTime('UTC')} AND hour < {end:DateTime('UTC')} AND value_reason != ''
GROUP BY account_id, media_buy_id, package_id, reason, currency
HAVING items != 0
