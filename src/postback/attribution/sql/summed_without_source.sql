-- Accounts with conversions that an earlier release added to the sums, without their source.
SELECT DISTINCT account_id
FROM
(
    SELECT account_id
    FROM conversion_hour
    WHERE event_source_id = '' AND media_buy_id != ''
    GROUP BY
        account_id, media_buy_id, package_id, hour, event_type, action_source, creative_id, value_reason, left_out_currency
    HAVING sum(conversions) != 0 OR sum(value) != JSONExtract('0', 'Decimal(38, 9)') OR sum(left_out_events) != 0
)
