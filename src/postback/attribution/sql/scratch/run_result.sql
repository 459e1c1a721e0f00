-- Scratch of a run: what its business events count for. One that follows a purchase takes precedence over one by its own identifiers.
CREATE TEMPORARY TABLE run_result
(
    number UInt64,
    follows UInt64,
    media_buy_id LowCardinality(String),
    package_id LowCardinality(String),
    rule_set UInt32,
    goal UInt16,
    source_rank UInt16,
    lead UInt16,
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
    left_out_currency LowCardinality(String)
)
ENGINE = Memory
