-- The outcome for each event: that of its business event, which counts once, with its lead event.
INSERT INTO run_outcome
(
    account_id, event_type, event_id, event_source_id, run_id, received_at, event_time, action_source, media_buy_id,
    package_id, goal, source_rank, exposure_id, exposure_kind, exposure_at, creative_id, match_kind, counted, conversions,
    value, lead_source_id, reported_at, reported_type, reported_action_source, value_reason, left_out, left_out_currency,
    purchase_source_id, purchase_type, purchase_id, known
)
SELECT
    {account_id:String}, event_type, event_id, sibling.2, {run_id:UInt64}, sibling.4, sibling.3, sibling.5, media_buy_id,
    package_id, goal, source_rank, exposure_id, exposure_kind, exposure_at, creative_id, match_kind, counted AND leads,
    if(leads, conversions, 0), if(leads, value, JSONExtract('0', 'Decimal(38, 9)')), lead_source,
    if(package_id = '', sibling.3, reported_at), if(package_id = '', event_type, reported_type),
    if(package_id = '', sibling.5, reported_action_source), multiIf(final, 'FINAL', settled, 'SETTLED', leads, value_reason, ''),
    if(leads, left_out, JSONExtract('0', 'Decimal(38, 9)')), if(leads, left_out_currency, ''), purchase.1, purchase.2,
    purchase.3, known
FROM
(
    SELECT
        business.event_type AS event_type, business.event_id AS event_id, settled, final, result.*,
        if(lead = 0, '', siblings[lead].2) AS lead_source, arrayJoin(siblings) AS sibling, sibling.2 = lead_source AS leads,
        (event_type, event_id, sibling.2) IN
            (SELECT event_type, event_id, event_source_id FROM run_previous_outcome) AS known,
        purchase
    FROM run_business AS business
    LEFT JOIN
    (
        SELECT *
        FROM run_result
        WHERE (follows > 0 OR number NOT IN (SELECT number FROM run_result WHERE follows > 0))
            AND number NOT IN (SELECT number FROM run_business WHERE settled)
    ) AS result USING (number)
    LEFT JOIN
    (
        SELECT number AS follows, (siblings[1].2, toString(event_type), event_id) AS purchase
        FROM run_business
        WHERE number IN (SELECT follows FROM run_result WHERE follows > 0)
    ) AS purchases USING (follows)
)
WHERE if(settled, NOT known AND sibling.1 > 0, known OR sibling.1 > 0)
