-- Clicks on click links that don't count, by hour and reason: sums, of which rows with equal keys become one when parts merge.
CREATE TABLE IF NOT EXISTS invalid_click
(
    account_id LowCardinality(String),
    media_buy_id LowCardinality(String),
    package_id LowCardinality(String),
    hour DateTime('UTC'),
    reason LowCardinality(String),
    clicks SimpleAggregateFunction(sum, UInt64)
)
ENGINE = AggregatingMergeTree
ORDER BY (account_id, media_buy_id, package_id, hour, reason)
SETTINGS
    fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1,
    non_replicated_deduplication_window = 100, old_parts_lifetime = 60;
