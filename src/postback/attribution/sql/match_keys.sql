-- The match keys of the run's business events, one a row for each sibling whose time decides windows.
WITH (SELECT groupArray(roles) FROM (SELECT roles FROM run_sibling_set ORDER BY sibling_set)) AS roles_by_set
SELECT match_key, number, leading.1 AS role, leading.2 AS at
FROM
(
    SELECT number, arrayJoin(match_keys) AS match_key, arrayJoin(leads) AS leading
    FROM
    (
        SELECT
            number, match_keys,
            arrayMap(
                role -> (role.1, toUnixTimestamp64Micro(siblings[role.2].3)), roles_by_set[sibling_set]
            ) AS leads
        FROM run_business
        WHERE sibling_set > 0 AND NOT settled
    )
)
