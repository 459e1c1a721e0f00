-- The facts of events that must be attributed again: of copies the first, with the identifiers of all, at most 64. What is older than retention settles and has no outcome counts nowhere, so it has no siblings.
INSERT INTO run_event
SELECT
    event_source_id, event_type, event_id, first.1, first.2, first.3, first.4, match_keys, first.5,
    if(
        toUnixTimestamp64Micro(first.3) < {settled_before:Int64} AND (event_source_id, event_type, event_id) NOT IN
        (
            SELECT event_source_id, event_type, event_id FROM run_previous_outcome WHERE value_reason != 'SETTLED'
        ),
        '',
        first.6
    ),
    first.7, first.8, first.9, first.10
FROM
(
    SELECT
        event_source_id, event_type, event_id,
        argMin(
            tuple(
                custom_event_name, received_at, event_time, action_source, event_kind, linked, amounts, stated, currency,
                order_id
            ),
            received_at
        ) AS first,
        arraySlice(
            arrayDistinct(arrayFlatten(arrayMap(copy -> copy.2, arraySort(groupArray((received_at, match_keys)))))), 1, 64
        ) AS match_keys
    FROM named_event
    WHERE account_id = {account_id:String}
        AND (event_source_id, event_type, event_id) IN (SELECT event_source_id, event_type, event_id FROM run_target)
        AND (event_source_id, event_type, event_id) NOT IN (SELECT event_source_id, event_type, event_id FROM run_event)
    GROUP BY event_source_id, event_type, event_id
)
