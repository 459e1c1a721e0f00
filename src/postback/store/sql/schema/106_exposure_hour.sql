-- Impressions, clicks and their cost by hour. Each run adds its part in one insert, which carries the run's number, so that none is added twice.
CREATE TABLE IF NOT EXISTS exposure_hour
(
    account_id LowCardinality(String),
    media_buy_id LowCardinality(String),
    package_id LowCardinality(String),
    hour DateTime('UTC'),
    creative_id LowCardinality(String),
    currency LowCardinality(String),
    impressions SimpleAggregateFunction(sum, Int64),
    clicks SimpleAggregateFunction(sum, Int64),
    spend SimpleAggregateFunction(sum, Decimal(38, 9)),
    run_id SimpleAggregateFunction(max, UInt64)
)
ENGINE = AggregatingMergeTree
ORDER BY (account_id, media_buy_id, package_id, hour, creative_id, currency)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1
