-- Of the run at work: its outcomes, on disk, so that a run that was cut short after its sums were added can be completed.
CREATE TABLE IF NOT EXISTS run_outcome
(
    account_id LowCardinality(String),
    event_type LowCardinality(String),
    event_id String,
    event_source_id LowCardinality(String),
    run_id UInt64,
    received_at DateTime64(6, 'UTC'),
    event_time DateTime64(6, 'UTC'),
    action_source LowCardinality(String),
    media_buy_id LowCardinality(String),
    package_id LowCardinality(String),
    goal UInt16,
    source_rank UInt16,
    exposure_id String,
    exposure_kind LowCardinality(String),
    exposure_at DateTime64(6, 'UTC'),
    creative_id LowCardinality(String),
    match_kind UInt8,
    counted Bool,
    conversions Int8,
    value Decimal(38, 9)
)
ENGINE = MergeTree
ORDER BY tuple()
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
