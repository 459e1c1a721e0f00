-- Whether some of the new exposures may be copies.
SELECT (SELECT count() FROM run_known_exposure) + (SELECT count() FROM run_repeated_exposure) > 0
