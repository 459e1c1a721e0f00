-- Of the run at work: earlier outcomes of its events, and of the same events from other sources.
CREATE TABLE IF NOT EXISTS run_prior
(
    event_type LowCardinality(String),
    event_id String,
    event_source_id LowCardinality(String),
    run_id UInt64,
    received_at DateTime64(6, 'UTC'),
    event_time DateTime64(6, 'UTC'),
    action_source LowCardinality(String),
    media_buy_id LowCardinality(String),
    package_id LowCardinality(String),
    creative_id LowCardinality(String),
    counted Bool,
    conversions Int8,
    value Decimal(38, 9)
)
ENGINE = Memory
