-- The outcome for each event: its package, goal and value; inside a goal the same event of several sources counts once.
INSERT INTO run_outcome
SELECT
    {account_id:String}, event_type, event_id, event_source_id, {run_id:UInt64}, received_at, event_time, action_source,
    media_buy_id, package_id, option.goal, option.source_rank, exposure_id, exposure_kind, exposure_at, creative_id,
    match_kind, counted, counted AND NOT option.refund, if(counted, worth, JSONExtract('0', 'Decimal(38, 9)'))
FROM
(
    SELECT
        *,
        arrayFirst(
            option -> toUnixTimestamp64Micro(event_time) - toUnixTimestamp64Micro(exposure_at)
                <= if(exposure_kind = 'click', option.click_us, option.view_us),
            options
        ) AS option,
        media_buy_id != '' AND row_number() OVER (
            PARTITION BY event_type, event_id, media_buy_id, package_id, option.goal
            ORDER BY option.source_rank, event_source_id
        ) = 1 AS counted,
        if(event.currency = rule.currency, amounts[option.field], NULL) AS amount,
        if(
            option.factor = 1,
            amount,
            JSONExtract(concat('"', toString(multiplyDecimal(amount, option.factor, 9)), '"'), 'Nullable(Decimal(38, 9))')
        ) AS product,
        ifNull(if(option.refund, -abs(product), product), JSONExtract('0', 'Decimal(38, 9)')) AS worth
    FROM run_event AS event
    LEFT JOIN run_match AS match USING (number)
    LEFT JOIN run_rule AS rule ON rule.kind = event.kind AND rule.class = match.class
)
