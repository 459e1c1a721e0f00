-- What packages delivered, by day or hour, creative and currency, and how many of it cost something: counted from exposures, except in the hours for which the seller gave totals.
SELECT
    account_id, media_buy_id, package_id, if({hourly:Bool}, hour, toStartOfDay(hour)) AS moment,
    creative_id, currency, sum(shown), sum(clicked), sum(spent), sumIf(items, spent != JSONExtract('0', 'Decimal(38, 9)'))
FROM
(
    SELECT
        account_id, media_buy_id, package_id, hour, creative_id, currency, impressions AS shown, clicks AS clicked,
        spend AS spent, impressions + clicks AS items
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
    SELECT
        account_id, media_buy_id, package_id, hour, creative_id, currency, toInt64(impressions), toInt64(clicks), spend,
        toInt64(1)
    FROM delivery_total FINAL
    WHERE (account_id, media_buy_id) IN arrayZip({account_ids:Array(String)}, {media_buy_ids:Array(String)})
        AND hour >= {start:DateTime('UTC')} AND hour < {end:DateTime('UTC')}
)
GROUP BY account_id, media_buy_id, package_id, moment, creative_id, currency
