-- The new events, without copies of events that were attributed before and without those whose outcome is final.
INSERT INTO run_event
SELECT
    1 + rowNumberInAllBlocks(), event_source_id, event_type, event_id, received_at, event_time, action_source, match_keys,
    kind, amounts, currency
FROM run_new AS new
LEFT JOIN
(
    SELECT event_source_id, event_type, event_id, received_at AS first_at, media_buy_id, package_id, true AS known
    FROM run_prior
) AS prior USING (event_source_id, event_type, event_id)
WHERE NOT known
    OR (first_at >= received_at AND (media_buy_id, package_id) NOT IN (SELECT media_buy_id, package_id FROM run_frozen))
