-- The other new events.
INSERT INTO run_event
SELECT
    event_source_id, event_type, event_id, custom_event_name, received_at, event_time, action_source, match_keys, event_kind,
    linked, amounts, stated, currency, order_id
FROM run_new
WHERE (event_source_id, event_type, event_id) NOT IN (SELECT event_source_id, event_type, event_id FROM run_target)
