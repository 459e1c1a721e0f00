-- What refunds count for that follow a purchase: in the order of event_time, each takes at most what those before it left, settled ones first; one that states no amount comes after the others and takes all of it.
INSERT INTO run_result
SELECT
    number, follows, if(named, media_buy_id, ''), if(named, package_id, ''), rule_set, goal, source_rank, lead, exposure_id,
    exposure_kind, exposure_at, creative_id, match_kind, reported_at, reported_type, reported_action_source, counts, 0,
    -taken, if(excess > 0, 'EXCEEDS_PURCHASE', reason), -if(excess > 0, excess, not_counted),
    if(excess > 0, currency, not_counted_currency)
FROM
(
    SELECT
        *,
        arraySum([
            value, -taken_before,
            sum(-asked) OVER (
                PARTITION BY follows ORDER BY stated DESC, lead_at, lead_source, event_id
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            )
        ]) AS left_of_it,
        if(left_of_it < 0, JSONExtract('0', 'Decimal(38, 9)'), left_of_it) AS rest,
        if(asked < rest, asked, rest) AS taken,
        if(stated, arraySum([asked, -taken]), JSONExtract('0', 'Decimal(38, 9)')) AS excess
    FROM
    (
        SELECT
            choice.number AS number, choice.follows AS follows, choice.currency AS currency, refund.event_type AS event_type,
            refund.event_id AS event_id, stated, value, taken_before, bought.rule_set AS rule_set, goal, source_rank, media_buy_id, package_id, exposure_id,
            exposure_kind, exposure_at, creative_id, match_kind, reported_at, reported_type, reported_action_source,
            toUInt16(greatest(option.3, 1)) AS lead, refund.siblings[lead].3 AS lead_at, refund.siblings[lead].2 AS lead_source,
            multiIf(
                package_id = '', 'PURCHASE_NOT_ATTRIBUTED', NOT option.9, 'REFUND_NOT_NAMED', purchase.final, 'FINAL',
                amount.value_reason
            ) AS reason,
            reason NOT IN ('PURCHASE_NOT_ATTRIBUTED', 'REFUND_NOT_NAMED') AS named,
            named AND reason != 'FINAL' AS counts,
            multiIf(NOT counts, JSONExtract('0', 'Decimal(38, 9)'), stated, amount.worth, value) AS asked,
            if(reason = 'FINAL' AND amount.worth != 0, amount.worth, amount.left_out) AS not_counted,
            if(reason = 'FINAL' AND amount.worth != 0, choice.currency, amount.left_out_currency) AS not_counted_currency
        FROM run_choice AS choice
        INNER JOIN run_business AS refund ON refund.number = choice.number
        INNER JOIN run_business AS purchase ON purchase.number = choice.follows
        LEFT JOIN run_result AS bought ON bought.number = choice.follows
        INNER JOIN run_worth AS amount ON amount.number = choice.number AND amount.follows = choice.follows
        LEFT JOIN
        (
            SELECT number AS follows, -sum(previous.value) AS taken_before
            FROM (SELECT number, event_type, event_id, arrayJoin(siblings).2 AS event_source_id FROM run_business) AS undone
            INNER JOIN run_previous_outcome AS previous
                ON previous.purchase_source_id = undone.event_source_id AND previous.purchase_type = undone.event_type
                AND previous.purchase_id = undone.event_id
            WHERE (previous.event_source_id, previous.event_type, previous.event_id) IN
                (SELECT arrayJoin(siblings).2, event_type, event_id FROM run_business WHERE settled)
            GROUP BY number
        ) AS earlier ON earlier.follows = choice.follows
        WHERE choice.follows > 0
    )
)
WHERE event_type = 'refund'
    OR (named AND reason != 'REFUND_NOT_NAMED')
    OR (reason = 'PURCHASE_NOT_ATTRIBUTED' AND number NOT IN (SELECT number FROM run_result))
