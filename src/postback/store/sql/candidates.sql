-- The exposures that share an identifier with an event: of each package, kind of exposure and identifier the last before it and the first after it.
WITH
    (
        SELECT any((match_keys, event_time))
        FROM event FINAL
        WHERE account_id = {account_id:String} AND event_source_id = {event_source_id:String}
            AND event_type = {event_type:String} AND event_id = {event_id:String}
    ) AS fact
SELECT
    media_buy_id, package_id, kind, reinterpretAsUInt8(substring(match_key, 1, 1)) AS match_kind, exposure_id,
    occurred_at, occurred_at > fact.2 AS after
FROM exposure_by_key
WHERE account_id = {account_id:String} AND has(fact.1, match_key) AND match_key IN fact.1
ORDER BY abs(toUnixTimestamp64Micro(occurred_at) - toUnixTimestamp64Micro(fact.2)), exposure_id
LIMIT 1 BY media_buy_id, package_id, kind, match_kind, after
LIMIT 100
