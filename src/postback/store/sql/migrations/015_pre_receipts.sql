-- Everything that was received, in the order of receipt: each copy, test and rejection is a row of its own. Deleted after thirty days, tests after seven.
CREATE TABLE IF NOT EXISTS receipt
(
    account_id LowCardinality(String),
    received_at DateTime64(6, 'UTC'),
    event_source_id LowCardinality(String),
    event_type LowCardinality(String),
    event_id String,
    test_event_code LowCardinality(String),
    outcome LowCardinality(String),
    quality Float32,
    warnings Array(LowCardinality(String)),
    reason LowCardinality(String),
    field LowCardinality(String),
    message String,
    order_hash UInt64
)
ENGINE = MergeTree
PARTITION BY toDate(received_at)
PRIMARY KEY (account_id, received_at)
ORDER BY (account_id, received_at, event_source_id, event_type, event_id)
TTL toDateTime(received_at) + INTERVAL 30 DAY, toDateTime(received_at) + INTERVAL 7 DAY DELETE WHERE test_event_code != ''
SETTINGS
    fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1,
    non_replicated_deduplication_window = 100, old_parts_lifetime = 60;

-- Views write here from the next statement of a start on; what was received before is copied, as far as it is still stored.
TRUNCATE TABLE receipt;

INSERT INTO receipt
SELECT
    account_id, received_at, event_source_id, event_type, event_id, '',
    multiIf(duplicate > 0, 'duplicate', notEmpty(warnings), 'accepted_with_warnings', 'accepted'),
    quality, if(duplicate = 2, arrayPushBack(warnings, 'DUPLICATE_DIFFERS'), warnings), '', '', '',
    if(JSONExtractString(custom_data, 'order_id') AS order_id = '', 0, sipHash64(order_id))
FROM event
WHERE received_at > now64(6, 'UTC') - INTERVAL 30 DAY
SETTINGS max_partitions_per_insert_block = 0;

INSERT INTO receipt
SELECT
    account_id, received_at, event_source_id, event_type, event_id, test_event_code, 'test', quality, warnings, '', '', '',
    if(JSONExtractString(custom_data, 'order_id') AS order_id = '', 0, sipHash64(order_id))
FROM test_event
WHERE received_at > now64(6, 'UTC') - INTERVAL 7 DAY
SETTINGS max_partitions_per_insert_block = 0;

INSERT INTO receipt
SELECT
    account_id, received_at, event_source_id, event_type, event_id, test_event_code, 'rejected', 0, [], reason, field, message, 0
FROM rejected_event
WHERE received_at > now64(6, 'UTC') - INTERVAL 30 DAY
SETTINGS max_partitions_per_insert_block = 0;
