-- The newest outcome of an event that a goal names, and what it came from.
SELECT
    run_id, media_buy_id, package_id, goal, exposure_id, exposure_kind, exposure_at, creative_id, match_kind, counted,
    conversions, value, lead_source_id, value_reason, left_out, left_out_currency, purchase_source_id, purchase_type,
    purchase_id
FROM attribution
WHERE account_id = {account_id:String} AND event_hash = sipHash64({event_type:String}, {event_id:String})
    AND event_source_id = {event_source_id:String} AND event_type = {event_type:String} AND event_id = {event_id:String}
ORDER BY run_id DESC
LIMIT 1
