-- The parts in use that merges and mutations made.
SELECT table, name, path
FROM system.parts
WHERE database = currentDatabase() AND active AND (level > 0 OR data_version > max_block_number)
