-- An outcome says where it is reported, why it counts no value, and which purchase it undoes.
ALTER TABLE attribution ADD COLUMN IF NOT EXISTS lead_source_id LowCardinality(String) DEFAULT if(counted, event_source_id, ''),
    ADD COLUMN IF NOT EXISTS reported_at DateTime64(6, 'UTC') DEFAULT event_time,
    ADD COLUMN IF NOT EXISTS reported_type LowCardinality(String) DEFAULT event_type,
    ADD COLUMN IF NOT EXISTS reported_action_source LowCardinality(String) DEFAULT action_source,
    ADD COLUMN IF NOT EXISTS value_reason LowCardinality(String),
    ADD COLUMN IF NOT EXISTS left_out Decimal(38, 9),
    ADD COLUMN IF NOT EXISTS left_out_currency LowCardinality(String),
    ADD COLUMN IF NOT EXISTS purchase_source_id LowCardinality(String),
    ADD COLUMN IF NOT EXISTS purchase_type LowCardinality(String),
    ADD COLUMN IF NOT EXISTS purchase_id String;

ALTER TABLE run_outcome ADD COLUMN IF NOT EXISTS lead_source_id LowCardinality(String),
    ADD COLUMN IF NOT EXISTS reported_at DateTime64(6, 'UTC') DEFAULT event_time,
    ADD COLUMN IF NOT EXISTS reported_type LowCardinality(String) DEFAULT event_type,
    ADD COLUMN IF NOT EXISTS reported_action_source LowCardinality(String) DEFAULT action_source,
    ADD COLUMN IF NOT EXISTS value_reason LowCardinality(String),
    ADD COLUMN IF NOT EXISTS left_out Decimal(38, 9),
    ADD COLUMN IF NOT EXISTS left_out_currency LowCardinality(String),
    ADD COLUMN IF NOT EXISTS purchase_source_id LowCardinality(String),
    ADD COLUMN IF NOT EXISTS purchase_type LowCardinality(String),
    ADD COLUMN IF NOT EXISTS purchase_id String;

-- What was left out of the value, by reason and currency.
ALTER TABLE conversion_hour ADD COLUMN IF NOT EXISTS value_reason LowCardinality(String),
    ADD COLUMN IF NOT EXISTS left_out_currency LowCardinality(String),
    ADD COLUMN IF NOT EXISTS left_out SimpleAggregateFunction(sum, Decimal(38, 9)),
    ADD COLUMN IF NOT EXISTS left_out_events SimpleAggregateFunction(sum, Int64),
    MODIFY ORDER BY (
        account_id, media_buy_id, package_id, hour, event_type, action_source, creative_id, value_reason, left_out_currency
    );

-- Events by what a refund finds its purchase with: a hash of the event_id, and one of the order_id. Written by attribution runs, where a goal names refunds.
CREATE TABLE IF NOT EXISTS event_by_link
(
    account_id LowCardinality(String),
    event_type LowCardinality(String),
    link UInt64,
    event_source_id LowCardinality(String),
    event_id String
)
ENGINE = ReplacingMergeTree
PRIMARY KEY (account_id, event_type, link)
ORDER BY (account_id, event_type, link, event_source_id, event_id)
SETTINGS index_granularity = 512, fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;
