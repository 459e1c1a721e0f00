-- Of the live events that were received from a source since a time, repeats aside that say the same: how many have which kinds of usable identifiers, a byte for each, and after how long they came, in µs: half of all of them, and 95 of 100.
SELECT groupArray((kinds, events)), quantilesExactMerge(0.5, 0.95)(delays)
FROM
(
    SELECT
        kinds, count() AS events,
        quantilesExactState(0.5, 0.95)(toUnixTimestamp64Micro(received_at) - toUnixTimestamp64Micro(event_time)) AS delays
    FROM receipt
    WHERE account_id = {account_id:String} AND event_source_id = {event_source_id:String}
        AND received_at >= {since:DateTime('UTC')}
        AND (outcome IN ('accepted', 'accepted_with_warnings') OR has(warnings, 'DUPLICATE_DIFFERS'))
        AND event_time != fromUnixTimestamp64Micro(0, 'UTC')
    GROUP BY kinds
)
