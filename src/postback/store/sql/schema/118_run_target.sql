-- Of the run at work: events that were attributed before and have to be again.
CREATE TABLE IF NOT EXISTS run_target
(
    event_source_id LowCardinality(String),
    event_type LowCardinality(String),
    event_id String
)
ENGINE = Memory
