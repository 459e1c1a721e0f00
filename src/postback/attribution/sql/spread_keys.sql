-- The match keys of the run's events, one a row. A key is shared when more than so many of them have it.
INSERT INTO run_key
WITH (
    SELECT groupArray(match_key)
    FROM
    (
        SELECT arrayJoin(match_keys) AS match_key
        FROM run_event
        GROUP BY match_key
        HAVING count() > {most:UInt32}
    )
) AS shared_keys
SELECT
    arrayJoin(match_keys) AS match_key, number, kind, event_time, reinterpretAsUInt8(substring(match_key, 1, 1)),
    has(shared_keys, match_key)
FROM run_event
