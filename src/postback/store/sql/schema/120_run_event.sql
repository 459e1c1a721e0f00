-- Of the run at work: the events to attribute, numbered.
CREATE TABLE IF NOT EXISTS run_event
(
    number UInt64,
    event_source_id LowCardinality(String),
    event_type LowCardinality(String),
    event_id String,
    received_at DateTime64(6, 'UTC'),
    event_time DateTime64(6, 'UTC'),
    action_source LowCardinality(String),
    match_keys Array(FixedString(16)),
    kind UInt32,
    amounts Array(Nullable(Decimal(38, 9))),
    currency String
)
ENGINE = Memory
