-- Why events failed, without what was in them: the latest reason wins, kept for thirty days. Live events have no test_event_code.
CREATE TABLE IF NOT EXISTS rejected_event
(
    account_id LowCardinality(String),
    event_source_id LowCardinality(String),
    event_type String,
    event_id String,
    test_event_code String,
    received_at DateTime64(6, 'UTC'),
    reason LowCardinality(String),
    field String,
    message String
)
ENGINE = ReplacingMergeTree(received_at)
ORDER BY (account_id, event_source_id, event_type, event_id, test_event_code)
TTL toDateTime(received_at) + INTERVAL 30 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1
