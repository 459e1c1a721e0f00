-- What a seller says that a package delivered in an hour, for sellers without logs: the latest word wins.
CREATE TABLE IF NOT EXISTS delivery_total
(
    account_id LowCardinality(String),
    media_buy_id LowCardinality(String),
    package_id LowCardinality(String),
    hour DateTime('UTC'),
    creative_id LowCardinality(String),
    received_at DateTime64(6, 'UTC'),
    impressions UInt64,
    clicks UInt64,
    spend Decimal(38, 9),
    currency LowCardinality(String)
)
ENGINE = ReplacingMergeTree(received_at)
ORDER BY (account_id, media_buy_id, package_id, hour, creative_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1
