-- Scratch of a run: ids of new exposures that were stored before.
CREATE TEMPORARY TABLE run_known_exposure (exposure_id String) ENGINE = Memory
