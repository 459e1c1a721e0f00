-- Exposures are found by match key in files beside the store, events by their hashes; the outcomes of a run are scratch.
DROP TABLE IF EXISTS exposure_by_key;

DROP TABLE IF EXISTS event_by_key;

DROP TABLE IF EXISTS run_outcome;

DROP TABLE IF EXISTS run_key;

DROP TABLE IF EXISTS run_role;
