-- What was received, summed up by the hour.
CREATE MATERIALIZED VIEW IF NOT EXISTS receipt_hour_of_receipt TO receipt_hour AS
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
GROUP BY account_id, event_source_id, hour, outcome, is_test, identified, kinds, delay
