-- Which secret and which control store belong to these events: the row with the greatest rotation.
CREATE TABLE IF NOT EXISTS installation
(
    installation_id String,
    secret_check String,
    sandbox Bool,
    rotation UInt32
)
ENGINE = ReplacingMergeTree(rotation)
ORDER BY installation_id
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;
