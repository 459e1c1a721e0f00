-- Scratch of a run: events that were attributed before and must be attributed again.
CREATE TEMPORARY TABLE run_target
(
    event_source_id LowCardinality(String),
    event_type LowCardinality(String),
    event_id String
)
ENGINE = Memory
