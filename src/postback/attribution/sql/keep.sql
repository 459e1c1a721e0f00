-- Keeps the outcomes of a run; what was kept already collapses.
INSERT INTO attribution (
    account_id, event_type, event_id, event_source_id, run_id, received_at, event_time, action_source, media_buy_id,
    package_id, goal, source_rank, exposure_id, exposure_kind, exposure_at, creative_id, match_kind, counted, conversions,
    value
)
SELECT * FROM run_outcome WHERE account_id = {account_id:String} AND run_id = {run_id:UInt64}
