-- Conversions and their value by the hour of the event; value is in the buy's currency. Written as exposure_hour is.
CREATE TABLE IF NOT EXISTS conversion_hour
(
    account_id LowCardinality(String),
    media_buy_id LowCardinality(String),
    package_id LowCardinality(String),
    hour DateTime('UTC'),
    event_type LowCardinality(String),
    action_source LowCardinality(String),
    creative_id LowCardinality(String),
    conversions SimpleAggregateFunction(sum, Int64),
    value SimpleAggregateFunction(sum, Decimal(38, 9)),
    run_id SimpleAggregateFunction(max, UInt64)
)
ENGINE = AggregatingMergeTree
ORDER BY (account_id, media_buy_id, package_id, hour, event_type, action_source, creative_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1
