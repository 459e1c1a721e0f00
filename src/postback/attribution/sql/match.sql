-- The exposure that each event goes to: a click before a view, then the latest, then the strongest identifier, then the least exposure_id. A key that many of the events have, as a shared address, isn't joined pair by pair: there only the last exposures before each event are looked at.
INSERT INTO run_match
WITH
    (SELECT groupArray(click_us) FROM (SELECT click_us FROM run_rule ORDER BY kind, class)) AS clicks,
    (SELECT groupArray(view_us) FROM (SELECT view_us FROM run_rule ORDER BY kind, class)) AS views,
    (SELECT max(class) FROM run_rule) AS classes,
    (SELECT max(click_us) FROM run_rule) AS longest_click,
    (SELECT max(view_us) FROM run_rule) AS longest_view
SELECT number, best.1, best.2, best.3, best.4, best.5, best.6, best.7, best.8
FROM
(
    SELECT
        number,
        argMin(
            tuple(class, media_buy_id, package_id, exposure_id, exposure_kind, exposure_at, creative_id, match_kind),
            tuple(
                exposure_kind != 'click',
                -toUnixTimestamp64Micro(exposure_at),
                multiIf(match_kind = 3, 253, match_kind = 4, 254, match_kind),
                exposure_id
            )
        ) AS best
    FROM
    (
        SELECT
            number, kind, event_time, match_kind, class, media_buy_id, package_id, exposure_id, exposure_kind, exposure_at,
            creative_id
        FROM
        (
            SELECT
                number, event.kind AS kind, event_time, match_kind, media_buy_id, package_id, exposure_id,
                exposure.kind AS exposure_kind, occurred_at AS exposure_at, creative_id
            FROM
            (
                SELECT match_key, occurred_at, exposure_id, kind, media_buy_id, package_id, creative_id
                FROM exposure_by_key
                WHERE account_id = {account_id:String} AND match_key IN (SELECT match_key FROM run_key WHERE NOT shared)
            ) AS exposure
            INNER JOIN (SELECT * FROM run_key WHERE NOT shared) AS event USING (match_key)
            WHERE occurred_at <= event_time
                AND toUnixTimestamp64Micro(event_time) - toUnixTimestamp64Micro(occurred_at)
                    <= if(exposure.kind = 'click', longest_click, longest_view)
        ) AS pair
        INNER JOIN run_package USING (media_buy_id, package_id)
        UNION ALL
        SELECT
            number, kind, moment, match_kind, class, media_buy_id, package_id, last.1, exposure_kind, last.2, last.3
        FROM
        (
            SELECT
                number, kind, moment, match_kind, class, media_buy_id, package_id, exposure_kind,
                anyLastIf(tuple(exposure_id, moment, creative_id), number = 0) OVER (
                    PARTITION BY match_key, media_buy_id, package_id, exposure_kind
                    ORDER BY moment, number > 0, exposure_id DESC
                    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
                ) AS last
            FROM
            (
                SELECT
                    match_key, 0 AS number, 0 AS kind, occurred_at AS moment, 0 AS match_kind, class, media_buy_id,
                    package_id, exposure.kind AS exposure_kind, exposure_id, creative_id
                FROM exposure_by_key AS exposure
                INNER JOIN run_package USING (media_buy_id, package_id)
                WHERE account_id = {account_id:String} AND match_key IN (SELECT match_key FROM run_key WHERE shared)
                UNION ALL
                SELECT
                    match_key, number, event.kind, event_time, match_kind, class, media_buy_id, package_id, exposure_kind,
                    '', ''
                FROM (SELECT * FROM run_key WHERE shared) AS event
                INNER JOIN
                (
                    SELECT DISTINCT match_key, class, media_buy_id, package_id, exposure.kind AS exposure_kind
                    FROM exposure_by_key AS exposure
                    INNER JOIN run_package USING (media_buy_id, package_id)
                    WHERE account_id = {account_id:String} AND match_key IN (SELECT match_key FROM run_key WHERE shared)
                ) AS seen USING (match_key)
            )
        )
        WHERE number > 0 AND last.1 != ''
    )
    WHERE toUnixTimestamp64Micro(event_time) - toUnixTimestamp64Micro(exposure_at)
        <= if(exposure_kind = 'click', clicks, views)[(kind - 1) * classes + class]
    GROUP BY number
)
