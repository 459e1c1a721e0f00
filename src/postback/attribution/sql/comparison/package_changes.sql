-- The sums of each package as they are and as they would be.
SELECT
    account_id, media_buy_id, package_id, sum(old_conversions), sum(old_value), sum(new_conversions), sum(new_value)
FROM
(
    SELECT
        account_id, media_buy_id, package_id, conversions AS old_conversions, value AS old_value, toInt64(0) AS new_conversions,
        JSONExtract('0', 'Decimal(38, 9)') AS new_value
    FROM $stored.conversion_hour
    WHERE media_buy_id != ''
    UNION ALL
    SELECT account_id, media_buy_id, package_id, 0, JSONExtract('0', 'Decimal(38, 9)'), conversions, value
    FROM conversion_hour
    WHERE media_buy_id != ''
)
GROUP BY account_id, media_buy_id, package_id
ORDER BY account_id, media_buy_id, package_id
