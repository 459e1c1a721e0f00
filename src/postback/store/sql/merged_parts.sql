-- The parts in use that merges made.
SELECT table, name, path
FROM system.parts
WHERE database = currentDatabase() AND active AND level > 0
