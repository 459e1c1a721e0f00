-- The tables that other servers of a group insert into.
SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE 'Replicated%'
