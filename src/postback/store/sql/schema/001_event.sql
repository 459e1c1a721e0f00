-- Conversions, once each: of equal keys the first write wins, for version falls as received_at rises. Merged parts are synced too.
CREATE TABLE IF NOT EXISTS event
(
    account_id LowCardinality(String),
    event_source_id LowCardinality(String),
    event_type LowCardinality(String),
    event_id String,
    event_time DateTime64(6, 'UTC'),
    received_at DateTime64(6, 'UTC'),
    version UInt64 MATERIALIZED 18446744073709551615 - toUnixTimestamp64Micro(received_at),
    action_source LowCardinality(String),
    event_source_url String,
    custom_event_name String,
    custom_data String,
    extra String,
    value Nullable(Decimal(38, 9)) ALIAS
        JSONExtract(if(abs(JSONExtractFloat(custom_data, 'value')) < 1e28, custom_data, ''), 'value', 'Nullable(Decimal(38, 9))'),
    currency String ALIAS JSONExtractString(custom_data, 'currency'),
    match_keys Array(FixedString(16)),
    quality Float32,
    warnings Array(String)
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (account_id, event_source_id, event_type, event_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1
