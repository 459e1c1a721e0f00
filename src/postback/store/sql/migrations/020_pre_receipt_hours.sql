-- How much was received from each source in an hour, by what became of it: what a source's page shows is read from here, and not from a day of receipts. Of accepted live events, repeats aside that say the same, also which kinds of identifiers they have and how late they came, in µs rounded to two digits. Kept as long as receipts.
CREATE TABLE IF NOT EXISTS receipt_hour
(
    account_id LowCardinality(String),
    event_source_id LowCardinality(String),
    hour DateTime('UTC'),
    outcome LowCardinality(String),
    is_test Bool,
    identified Bool,
    kinds LowCardinality(String),
    delay UInt64,
    events SimpleAggregateFunction(sum, UInt64)
)
ENGINE = AggregatingMergeTree
ORDER BY (account_id, event_source_id, hour, outcome, is_test, identified, kinds, delay)
TTL hour + INTERVAL 30 DAY, hour + INTERVAL 7 DAY DELETE WHERE is_test
SETTINGS
    fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1,
    non_replicated_deduplication_window = 100, old_parts_lifetime = 60;

-- A view writes here from the next statement of a start on; what was received before is counted, as far as it is still stored.
TRUNCATE TABLE receipt_hour;

INSERT INTO receipt_hour
SELECT
    account_id,
    event_source_id,
    toStartOfHour(toDateTime(received_at, 'UTC')) AS hour,
    outcome,
    is_test,
    identified,
    if(identified, found, '') AS kinds,
    if(identified, intDiv(late + intDiv(digit, 2), digit) * digit, 0) AS delay,
    count() AS events
FROM
(
    SELECT
        account_id, event_source_id, received_at, outcome, kinds AS found, test_event_code != '' AS is_test,
        NOT is_test AND toUnixTimestamp64Micro(event_time) != 0
            AND (outcome IN ('accepted', 'accepted_with_warnings') OR has(warnings, 'DUPLICATE_DIFFERS')) AS identified,
        greatest(0, toUnixTimestamp64Micro(received_at) - toUnixTimestamp64Micro(event_time)) AS late,
        intExp10(toInt32(greatest(0, floor(log10(greatest(1, late))) - 1))) AS digit
    FROM receipt
)
GROUP BY account_id, event_source_id, hour, outcome, is_test, identified, kinds, delay;
