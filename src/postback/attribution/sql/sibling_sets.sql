-- The combinations of event kinds that business events with siblings have.
SELECT DISTINCT arraySort(groupArray(event_kind)) AS kinds
FROM run_event
WHERE linked != ''
GROUP BY event_type, event_id, linked, if(event_type = 'custom', custom_event_name, '')
HAVING length(kinds) > 1
