-- Commits the outcomes of a run; those committed before collapse.
INSERT INTO attribution
(
    account_id, event_type, event_id, event_source_id, run_id, received_at, event_time, action_source, media_buy_id,
    package_id, goal, source_rank, exposure_id, exposure_kind, exposure_at, creative_id, match_kind, counted, conversions,
    value, lead_source_id, reported_at, reported_type, reported_action_source, value_reason, left_out, left_out_currency,
    purchase_source_id, purchase_type, purchase_id
)
SELECT
    account_id, event_type, event_id, event_source_id, run_id, received_at, event_time, action_source, media_buy_id,
    package_id, goal, source_rank, exposure_id, exposure_kind, exposure_at, creative_id, match_kind, counted, conversions,
    value, lead_source_id, reported_at, reported_type, reported_action_source, value_reason, left_out, left_out_currency,
    purchase_source_id, purchase_type, purchase_id
FROM run_outcome
