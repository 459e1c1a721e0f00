-- The same events from other sources, which must be attributed again too.
INSERT INTO run_target
SELECT DISTINCT event_source_id, event_type, event_id
FROM run_previous_outcome
WHERE (event_type, event_id) IN
    (
        SELECT event_type, event_id FROM run_event
        UNION ALL
        SELECT event_type, event_id FROM run_target
    )
    AND (event_source_id, event_type, event_id) NOT IN
    (
        SELECT event_source_id, event_type, event_id FROM run_event
        UNION ALL
        SELECT event_source_id, event_type, event_id FROM run_target
    )
