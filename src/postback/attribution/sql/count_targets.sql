-- How many events have to be attributed again.
SELECT count() FROM run_target
