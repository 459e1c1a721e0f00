-- run_event_kind and run_previous_outcome have taken the place of these. They hold nothing between runs.
DROP TABLE IF EXISTS run_kind;
DROP TABLE IF EXISTS run_prior;
