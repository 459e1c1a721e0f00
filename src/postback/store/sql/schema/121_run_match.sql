-- Of the run at work: the exposure that each matched event goes to.
CREATE TABLE IF NOT EXISTS run_match
(
    number UInt64,
    class UInt32,
    media_buy_id LowCardinality(String),
    package_id LowCardinality(String),
    exposure_id String,
    exposure_kind LowCardinality(String),
    exposure_at DateTime64(6, 'UTC'),
    creative_id LowCardinality(String),
    match_kind UInt8
)
ENGINE = Memory
