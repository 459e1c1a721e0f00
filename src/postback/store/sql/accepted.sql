-- The live event of this key: its first copy, with the identifiers of all. Of match keys only the first bytes, which say the kinds of identifier.
SELECT
    '' AS test_event_code, first.1 AS received_at, first.2 AS event_time, first.3 AS quality, first.4 AS warnings,
    first.5 AS custom_event_name, first.6 AS dropped,
    arrayMap(key -> reinterpretAsUInt8(substring(key, 1, 1)), arraySlice(arrayDistinct(arrayFlatten(keys)), 1, 64)) AS kinds,
    [] AS match_keys
FROM
(
    SELECT
        argMin((received_at, event_time, quality, warnings, custom_event_name, dropped), received_at) AS first,
        arrayMap(copy -> copy.2, arraySort(groupArray((received_at, match_keys)))) AS keys
    FROM event
    WHERE account_id = {account_id:String} AND event_source_id = {event_source_id:String}
        AND event_type = {event_type:String} AND event_id = {event_id:String}
    GROUP BY account_id
)
