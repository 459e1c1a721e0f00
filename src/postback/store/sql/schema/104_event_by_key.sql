-- Events that a goal names, by what they can be matched by: late exposures find them here. Written by attribution runs.
CREATE TABLE IF NOT EXISTS event_by_key
(
    account_id LowCardinality(String),
    match_key FixedString(16),
    event_source_id LowCardinality(String),
    event_type LowCardinality(String),
    event_id String,
    event_time DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree
PRIMARY KEY (account_id, match_key)
ORDER BY (account_id, match_key, event_source_id, event_type, event_id)
SETTINGS index_granularity = 512, fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1
