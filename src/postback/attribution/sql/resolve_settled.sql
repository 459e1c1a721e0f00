-- What settled business events count for: it stays.
INSERT INTO run_result
SELECT
    number, 0, media_buy_id, package_id, rules.rule_set, goal, source_rank, 0, exposure_id, exposure_kind, exposure_at,
    creative_id, match_kind, reported_at, reported_type, reported_action_source, counted, conversions, value, value_reason,
    left_out, left_out_currency
FROM
(
    SELECT number, event_type, event_id, arrayJoin(siblings).2 AS event_source_id
    FROM run_business
    WHERE settled
) AS business
INNER JOIN run_previous_outcome AS previous USING (event_type, event_id, event_source_id)
LEFT JOIN
(
    SELECT media_buy_id, package_id, rule_set FROM run_frozen
    UNION ALL
    SELECT media_buy_id, package_id, rule_set FROM run_package
) AS rules USING (media_buy_id, package_id)
WHERE media_buy_id != '' AND value_reason != 'FINAL'
ORDER BY counted DESC
LIMIT 1 BY number
