-- Whether the identifiers and the payload of a row were dropped at retention.
ALTER TABLE event ADD COLUMN IF NOT EXISTS dropped Bool;

ALTER TABLE exposure ADD COLUMN IF NOT EXISTS dropped Bool;

-- How far retention has come: results of events from before settled_before stay, rows from before dropped_before lose their payload.
CREATE TABLE IF NOT EXISTS retention
(
    settled_before DateTime64(6, 'UTC'),
    dropped_before DateTime64(6, 'UTC'),
    noted_at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
)
ENGINE = MergeTree
ORDER BY noted_at
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;

-- The day of an event, so that match keys of old events can leave. Those from before this column leave as late as new ones.
ALTER TABLE event_hash_by_key ADD COLUMN IF NOT EXISTS event_day Date32,
    MODIFY ORDER BY (account_id, match_key, event_hash, event_day);

INSERT INTO event_hash_by_key SELECT account_id, match_key, event_hash, toDate32(now('UTC')) FROM event_hash_by_key
WHERE event_day = toDate32('1970-01-01');

ALTER TABLE event_hash_by_key DELETE WHERE event_day = toDate32('1970-01-01') SETTINGS mutations_sync = 2;
