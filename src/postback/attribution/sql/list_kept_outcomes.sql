-- The outcomes that a rebuild kept, where lists of conversions find them; as the view attributed_event_of_outcome notes others.
INSERT INTO attributed_event
SELECT
    account_id, media_buy_id, reported_at = event_time, event_time, event_type, event_id, event_source_id,
    run_id, reported_at, reported_type, reported_action_source, package_id, creative_id, value_reason, counted, conversions
FROM attribution
WHERE media_buy_id != ''
