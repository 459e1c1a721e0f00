-- How many of the statements that drop old rows are at work, and how many of them the engine tries again.
SELECT count(), countIf(latest_fail_reason != '')
FROM system.mutations
WHERE database = currentDatabase() AND table IN ('event', 'exposure', 'event_hash_by_key') AND NOT is_done
