-- Events that others drag along: the same event from another source.
INSERT INTO run_target
SELECT event_source_id, event_type, event_id
FROM run_prior
WHERE (event_type, event_id) IN
    (
        SELECT event_type, event_id FROM run_event
        UNION ALL
        SELECT event_type, event_id FROM run_target
    )
    AND (event_source_id, event_type, event_id) NOT IN (SELECT event_source_id, event_type, event_id FROM run_event)
