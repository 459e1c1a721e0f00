-- Events that a goal names, by match key: late exposures find the outcomes of these events by the hash. Written by attribution runs.
CREATE TABLE IF NOT EXISTS event_hash_by_key
(
    account_id LowCardinality(String),
    match_key FixedString(16),
    event_hash UInt64
)
ENGINE = ReplacingMergeTree
PRIMARY KEY (account_id, match_key)
ORDER BY (account_id, match_key, event_hash)
SETTINGS index_granularity = 512, fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;

INSERT INTO event_hash_by_key SELECT account_id, match_key, sipHash64(event_type, event_id) FROM event_by_key;
