-- The outcome for each event that a goal names, attributed or not: the newest run wins. Copies of an event in several sources lie side by side.
CREATE TABLE IF NOT EXISTS attribution
(
    account_id LowCardinality(String),
    event_hash UInt64 MATERIALIZED sipHash64(event_type, event_id),
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
    value Decimal(38, 9),
    INDEX arrival received_at TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(run_id)
PRIMARY KEY (account_id, event_hash)
ORDER BY (account_id, event_hash, event_type, event_id, event_source_id)
SETTINGS index_granularity = 512, fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1
