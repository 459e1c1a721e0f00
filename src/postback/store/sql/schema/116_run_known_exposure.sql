-- Of the run at work: ids of new exposures that were known before.
CREATE TABLE IF NOT EXISTS run_known_exposure (exposure_id String) ENGINE = Memory
