-- The latest outcomes of the run's events, and of the same events from other sources.
INSERT INTO run_prior
SELECT
    event_type, event_id, event_source_id, run_id, received_at, event_time, action_source, media_buy_id, package_id,
    creative_id, counted, conversions, value
FROM attribution
WHERE account_id = {account_id:String}
    AND event_hash IN
    (
        SELECT sipHash64(event_type, event_id) FROM run_new
        UNION ALL
        SELECT sipHash64(event_type, event_id) FROM run_target
    )
    AND (event_type, event_id) IN
    (
        SELECT event_type, event_id FROM run_new
        UNION ALL
        SELECT event_type, event_id FROM run_target
    )
ORDER BY run_id DESC
LIMIT 1 BY event_type, event_id, event_source_id
