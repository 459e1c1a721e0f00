-- Scratch of a run: the exposure that each matched event is attributed to.
CREATE TEMPORARY TABLE run_match
(
    number UInt64,
    rule_set UInt32,
    media_buy_id LowCardinality(String),
    package_id LowCardinality(String),
    exposure_id String,
    exposure_kind LowCardinality(String),
    exposure_at DateTime64(6, 'UTC'),
    creative_id LowCardinality(String),
    match_kind UInt8
)
ENGINE = Memory
