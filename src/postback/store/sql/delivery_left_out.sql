-- What packages' figures leave out, by reason and currency: amounts of events, and the cost of exposures in another currency than the buy's.
SELECT
    account_id, media_buy_id, package_id, 'conversion_value' AS figure, value_reason AS reason, left_out_currency AS currency,
    sum(left_out_events) AS items, sum(left_out) AS amount
FROM conversion_hour
WHERE (account_id, media_buy_id) IN arrayZip({account_ids:Array(String)}, {media_buy_ids:Array(String)})
    AND hour >= {start:DateTime('UTC')} AND hour < {end:DateTime('UTC')} AND value_reason != ''
GROUP BY account_id, media_buy_id, package_id, reason, currency
HAVING items != 0
UNION ALL
SELECT
    account_id, media_buy_id, package_id, 'spend', if(currency = '', 'NO_CURRENCY', 'OTHER_CURRENCY'), currency, sum(items),
    sum(spent)
FROM
(
    SELECT account_id, media_buy_id, package_id, currency, impressions + clicks AS items, spend AS spent
    FROM exposure_hour
    WHERE (account_id, media_buy_id) IN arrayZip({account_ids:Array(String)}, {media_buy_ids:Array(String)})
        AND hour >= {start:DateTime('UTC')} AND hour < {end:DateTime('UTC')}
        AND (account_id, media_buy_id, package_id, hour) NOT IN
        (
            SELECT account_id, media_buy_id, package_id, hour
            FROM delivery_total
            WHERE (account_id, media_buy_id) IN arrayZip({account_ids:Array(String)}, {media_buy_ids:Array(String)})
        )
    UNION ALL
    SELECT account_id, media_buy_id, package_id, currency, 1, spend
    FROM delivery_total FINAL
    WHERE (account_id, media_buy_id) IN arrayZip({account_ids:Array(String)}, {media_buy_ids:Array(String)})
        AND hour >= {start:DateTime('UTC')} AND hour < {end:DateTime('UTC')}
)
WHERE spent != JSONExtract('0', 'Decimal(38, 9)')
    AND (account_id, media_buy_id, currency) NOT IN arrayZip(
        {account_ids:Array(String)}, {media_buy_ids:Array(String)}, {currencies:Array(String)}
    )
GROUP BY account_id, media_buy_id, package_id, currency
