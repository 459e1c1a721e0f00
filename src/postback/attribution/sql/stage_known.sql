-- Of the new events those whose facts are more than what is new: copies, and custom events, which a goal may name by another copy's name.
INSERT INTO run_target
SELECT event_source_id, event_type, event_id
FROM run_new
GROUP BY event_source_id, event_type, event_id
HAVING count() > 1
    OR event_type = 'custom'
    OR (event_source_id, event_type, event_id) IN (SELECT event_source_id, event_type, event_id FROM run_previous_outcome)
