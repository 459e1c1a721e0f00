-- Scratch of a run: new exposures.
CREATE TEMPORARY TABLE run_exposure
(
    exposure_id String,
    kind LowCardinality(String),
    occurred_at DateTime64(6, 'UTC'),
    media_buy_id LowCardinality(String),
    package_id LowCardinality(String),
    creative_id LowCardinality(String),
    match_keys Array(FixedString(16)),
    cost Nullable(Decimal(38, 9)),
    currency LowCardinality(String)
)
ENGINE = Memory
