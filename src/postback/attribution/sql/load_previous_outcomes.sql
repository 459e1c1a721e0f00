-- The latest outcomes of the run's events, and of the same events from other sources; for hashes that are equal by chance, those of others too.
INSERT INTO run_previous_outcome
SELECT
    event_type, event_id, event_source_id, run_id, media_buy_id, package_id, goal, source_rank, exposure_id, exposure_kind,
    exposure_at, creative_id, match_kind, reported_at, reported_type, reported_action_source, counted, conversions, value,
    value_reason, left_out, left_out_currency, purchase_source_id, purchase_type, purchase_id
FROM attribution
PREWHERE account_id = {account_id:String}
    AND event_hash IN
    (
        SELECT sipHash64(event_type, event_id) FROM run_new
        UNION ALL
        SELECT sipHash64(event_type, event_id) FROM run_target
    )
WHERE (event_type, event_id, event_source_id)
    NOT IN (SELECT event_type, event_id, event_source_id FROM run_previous_outcome)
ORDER BY run_id DESC
LIMIT 1 BY event_type, event_id, event_source_id
