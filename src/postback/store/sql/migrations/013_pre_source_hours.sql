-- What arrived from each source in each complete hour, in the order of time: what a silence, a share of rejections and a match rate are compared with.
-- blocks lists the five minutes that had an event, from 0 to 11; outcomes are events that a goal names, as soon as they were attributed or not. The latest sum wins.
CREATE TABLE IF NOT EXISTS source_hour
(
    hour DateTime('UTC'),
    account_id LowCardinality(String),
    event_source_id LowCardinality(String),
    accepted UInt64,
    rejected UInt64,
    quality Float64,
    blocks Array(UInt8),
    last_minute DateTime('UTC'),
    outcomes UInt64,
    attributed UInt64,
    summed_at DateTime('UTC')
)
ENGINE = ReplacingMergeTree(summed_at)
ORDER BY (hour, account_id, event_source_id)
TTL hour + INTERVAL 60 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, old_parts_lifetime = 60;
