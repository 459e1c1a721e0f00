-- Scratch of a run: earlier outcomes of its events, and of the same events from other sources.
CREATE TEMPORARY TABLE run_previous_outcome
(
    event_type LowCardinality(String),
    event_id String,
    event_source_id LowCardinality(String),
    run_id UInt64,
    media_buy_id LowCardinality(String),
    package_id LowCardinality(String),
    goal UInt16,
    source_rank UInt16,
    exposure_id String,
    exposure_kind LowCardinality(String),
    exposure_at DateTime64(6, 'UTC'),
    creative_id LowCardinality(String),
    match_kind UInt8,
    reported_at DateTime64(6, 'UTC'),
    reported_type LowCardinality(String),
    reported_action_source LowCardinality(String),
    counted Bool,
    conversions Int8,
    value Decimal(38, 9),
    value_reason LowCardinality(String),
    left_out Decimal(38, 9),
    left_out_currency LowCardinality(String),
    purchase_source_id LowCardinality(String),
    purchase_type LowCardinality(String),
    purchase_id String
)
ENGINE = Memory
