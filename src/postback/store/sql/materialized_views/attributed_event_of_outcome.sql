-- Each outcome that attributes an event to a media buy, where the media buy's list finds it.
CREATE MATERIALIZED VIEW IF NOT EXISTS attributed_event_of_outcome TO attributed_event AS
SELECT
    account_id,
    media_buy_id,
    reported_at = event_time AS at_own_time,
    event_time,
    event_type,
    event_id,
    event_source_id,
    run_id,
    reported_at,
    reported_type,
    reported_action_source,
    package_id,
    creative_id,
    value_reason,
    counted,
    conversions
FROM attribution
WHERE media_buy_id != ''
