-- The events that runs attributed to a media buy, in the order of its list: those at their own time, and apart from them refunds, which are reported at the time of their purchase. Every outcome is noted as it is written and stays when a later run moves its event, so that readers compare it with the newest outcome.
CREATE TABLE IF NOT EXISTS attributed_event
(
    account_id LowCardinality(String),
    media_buy_id LowCardinality(String),
    at_own_time Bool,
    event_time DateTime64(6, 'UTC'),
    event_type LowCardinality(String),
    event_id String,
    event_source_id LowCardinality(String),
    run_id UInt64,
    reported_at DateTime64(6, 'UTC'),
    reported_type LowCardinality(String),
    reported_action_source LowCardinality(String),
    package_id LowCardinality(String),
    creative_id LowCardinality(String),
    value_reason LowCardinality(String),
    counted Bool,
    conversions Int8
)
ENGINE = ReplacingMergeTree(run_id)
PRIMARY KEY (account_id, media_buy_id, at_own_time, event_time)
ORDER BY (account_id, media_buy_id, at_own_time, event_time, event_type, event_id, event_source_id)
SETTINGS
    index_granularity = 2048, min_bytes_for_wide_part = 134217728, old_parts_lifetime = 60,
    fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;

-- It writes from here on, also what servers of the release before attribute; what they attributed before is copied.
CREATE MATERIALIZED VIEW IF NOT EXISTS attributed_event_of_outcome TO attributed_event AS
SELECT
    account_id, media_buy_id, reported_at = event_time AS at_own_time, event_time, event_type, event_id, event_source_id,
    run_id, reported_at, reported_type, reported_action_source, package_id, creative_id, value_reason, counted, conversions
FROM attribution
WHERE media_buy_id != '';

INSERT INTO attributed_event
SELECT
    account_id, media_buy_id, reported_at = event_time, event_time, event_type, event_id, event_source_id,
    run_id, reported_at, reported_type, reported_action_source, package_id, creative_id, value_reason, counted, conversions
FROM attribution
WHERE media_buy_id != '';

-- Small blocks, for pages and runs read few outcomes each of many hashes.
ALTER TABLE attribution MODIFY SETTING min_compress_block_size = 8192, max_compress_block_size = 65536;
