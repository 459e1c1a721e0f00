-- Impressions and clicks, once each: of equal exposure_ids the first write wins. The hash in front of the id makes it cheap to ask which of many ids are known.
CREATE TABLE IF NOT EXISTS exposure
(
    account_id LowCardinality(String),
    exposure_hash UInt64 MATERIALIZED sipHash64(exposure_id),
    exposure_id String,
    kind LowCardinality(String),
    occurred_at DateTime64(6, 'UTC'),
    received_at DateTime64(6, 'UTC'),
    version UInt64 MATERIALIZED 18446744073709551615 - toUnixTimestamp64Micro(received_at),
    media_buy_id LowCardinality(String),
    package_id LowCardinality(String),
    creative_id LowCardinality(String),
    match_keys Array(FixedString(16)),
    cost Nullable(Decimal(38, 9)),
    currency LowCardinality(String),
    INDEX arrival received_at TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (account_id, exposure_hash, exposure_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1
