-- The other new events. What is older than retention settles counts nowhere, so it has no siblings.
INSERT INTO run_event
SELECT
    event_source_id, event_type, event_id, custom_event_name, received_at, event_time, action_source, match_keys, event_kind,
    if(toUnixTimestamp64Micro(event_time) < {settled_before:Int64}, '', linked), amounts, stated, currency, order_id
FROM run_new
WHERE (event_source_id, event_type, event_id) NOT IN (SELECT event_source_id, event_type, event_id FROM run_target)
