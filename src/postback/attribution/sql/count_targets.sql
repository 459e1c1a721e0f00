-- How many events must be attributed again.
SELECT count() FROM run_target
