-- Of the live events that were received from a source since a time, exact copies aside: how many there are (kind 0), how many have each kind of usable identifier and how many none (kind 255); and after how long half of them came, and 95 of 100, in µs.
SELECT
    arrayJoin(arrayConcat([0], if(empty(kinds), [255], kinds))) AS kind, count(), quantileExactIf(0.5)(delay, kind = 0),
    quantileExactIf(0.95)(delay, kind = 0)
FROM
(
    SELECT
        arrayDistinct(arrayMap(key -> reinterpretAsUInt8(substring(key, 1, 1)), match_keys)) AS kinds,
        toUnixTimestamp64Micro(received_at) - toUnixTimestamp64Micro(event_time) AS delay
    FROM event FINAL
    PREWHERE account_id = {account_id:String} AND event_source_id = {event_source_id:String}
        AND received_at >= {since:DateTime('UTC')}
    WHERE NOT dropped
)
GROUP BY kind
ORDER BY kind
