-- Makes the sums by hour those of the outcomes: after a run that was interrupted, in a rebuild that kept some outcomes, and where an earlier release did not sum by source.
INSERT INTO conversion_hour
(
    account_id, media_buy_id, package_id, hour, event_type, action_source, creative_id, value_reason, left_out_currency,
    event_source_id, conversions, value, left_out, left_out_events, refunds, refunded
)
SELECT
    {account_id:String}, media_buy_id, package_id, hour, event_type, action_source, creative_id, value_reason,
    left_out_currency, event_source_id, sum(conversions) AS achieved, sum(value) AS worth, sum(left_out) AS missing,
    sum(events) AS reasons, sum(refunds) AS undone, sum(refunded) AS subtracted
FROM
(
    SELECT
        media_buy_id, package_id, toStartOfHour(reported_at) AS hour, reported_type AS event_type,
        reported_action_source AS action_source, creative_id, value_reason, left_out_currency, event_source_id,
        toInt64(conversions) AS conversions, value, left_out, toInt64(value_reason != '') AS events,
        toInt64(counted AND conversions = 0) AS refunds,
        if(counted AND conversions = 0, value, JSONExtract('0', 'Decimal(38, 9)')) AS refunded
    FROM attribution FINAL
    WHERE account_id = {account_id:String} AND media_buy_id != '' AND (counted OR value_reason != '')
    UNION ALL
    SELECT
        media_buy_id, package_id, hour, event_type, action_source, creative_id, value_reason, left_out_currency,
        event_source_id, -conversions, -value, -left_out, -left_out_events, -refunds, -refunded
    FROM conversion_hour
    WHERE account_id = {account_id:String} AND media_buy_id != ''
)
GROUP BY
    media_buy_id, package_id, hour, event_type, action_source, creative_id, value_reason, left_out_currency, event_source_id
HAVING achieved != 0 OR worth != JSONExtract('0', 'Decimal(38, 9)')
    OR missing != JSONExtract('0', 'Decimal(38, 9)') OR reasons != 0 OR undone != 0
    OR subtracted != JSONExtract('0', 'Decimal(38, 9)')
