-- Exposures by what they can be matched by. Written by attribution runs; a row written twice collapses. Small granules and blocks: few rows each of many keys are read.
CREATE TABLE IF NOT EXISTS exposure_by_key
(
    account_id LowCardinality(String),
    match_key FixedString(16),
    occurred_at DateTime64(6, 'UTC'),
    exposure_id String,
    kind String,
    media_buy_id String,
    package_id String,
    creative_id String
)
ENGINE = ReplacingMergeTree
PRIMARY KEY (account_id, match_key)
ORDER BY (account_id, match_key, occurred_at, exposure_id)
SETTINGS
    index_granularity = 128, min_compress_block_size = 4096, max_compress_block_size = 16384,
    fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1
