-- Each accepted live event as it was received: copies, which become one row of event, stay apart here.
CREATE MATERIALIZED VIEW IF NOT EXISTS receipt_of_event TO receipt AS
SELECT
    account_id,
    received_at,
    event_source_id,
    event_type,
    event_id,
    multiIf(duplicate > 0, 'duplicate', notEmpty(warnings), 'accepted_with_warnings', 'accepted') AS outcome,
    quality,
    if(duplicate = 2, arrayPushBack(warnings, 'DUPLICATE_DIFFERS'), warnings) AS warnings,
    if(JSONExtractString(custom_data, 'order_id') AS order_id = '', 0, sipHash64(order_id)) AS order_hash,
    event_time,
    arrayStringConcat(arraySort(arrayDistinct(arrayMap(key -> substring(key, 1, 1), match_keys)))) AS kinds
FROM event
