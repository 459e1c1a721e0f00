-- The tables whose parts are files, and their folders.
SELECT name, data_paths[1]
FROM system.tables
WHERE database = currentDatabase() AND engine LIKE '%MergeTree'
ORDER BY name
