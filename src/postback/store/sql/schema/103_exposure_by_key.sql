-- Exposures by what they can be matched by. Written by attribution runs; a row written twice collapses.
CREATE TABLE IF NOT EXISTS exposure_by_key
(
    account_id LowCardinality(String),
    match_key FixedString(16),
    occurred_at DateTime64(6, 'UTC'),
    exposure_id String,
    kind LowCardinality(String),
    media_buy_id LowCardinality(String),
    package_id LowCardinality(String),
    creative_id LowCardinality(String)
)
ENGINE = ReplacingMergeTree
PRIMARY KEY (account_id, match_key)
ORDER BY (account_id, match_key, occurred_at, exposure_id)
SETTINGS index_granularity = 512, fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1
