-- The exposure that each event goes to: a click before a view, then the latest, then the strongest identifier, then the least exposure_id.
INSERT INTO run_match
WITH
    (SELECT groupArray(click_us) FROM (SELECT click_us FROM run_rule ORDER BY kind, class)) AS clicks,
    (SELECT groupArray(view_us) FROM (SELECT view_us FROM run_rule ORDER BY kind, class)) AS views,
    (SELECT max(class) FROM run_rule) AS classes
SELECT
    number, best.1, best.2, best.3, best.4, best.5, best.6, best.7, best.8
FROM
(
    SELECT
        number,
        argMin(
            tuple(class, media_buy_id, package_id, exposure_id, exposure.kind, occurred_at, creative_id, match_kind),
            tuple(exposure.kind != 'click', -toUnixTimestamp64Micro(occurred_at), weakness, exposure_id)
        ) AS best
    FROM
    (
        SELECT match_key, occurred_at, exposure_id, kind, media_buy_id, package_id, creative_id, class
        FROM exposure_by_key
        INNER JOIN run_package USING (media_buy_id, package_id)
        WHERE account_id = {account_id:String} AND match_key IN (SELECT arrayJoin(match_keys) FROM run_event)
    ) AS exposure
    INNER JOIN
    (
        SELECT
            number, event_time, kind, arrayJoin(match_keys) AS match_key,
            reinterpretAsUInt8(substring(match_key, 1, 1)) AS match_kind,
            multiIf(match_kind = 3, 253, match_kind = 4, 254, match_kind) AS weakness
        FROM run_event
    ) AS event USING (match_key)
    WHERE occurred_at <= event_time
        AND toUnixTimestamp64Micro(event_time) - toUnixTimestamp64Micro(occurred_at)
            <= if(exposure.kind = 'click', clicks, views)[(event.kind - 1) * classes + class]
    GROUP BY number
)
SETTINGS query_plan_join_swap_table = 'false'
