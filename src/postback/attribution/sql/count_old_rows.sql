-- How many events and exposures from before a time still have what retention drops, and how many match keys of settled events are findable.
SELECT
    (
        SELECT count()
        FROM event
        WHERE NOT dropped AND greatest(event_time, received_at) < fromUnixTimestamp64Micro({dropped_before:Int64}, 'UTC')
    ),
    (
        SELECT count()
        FROM exposure
        WHERE NOT dropped AND greatest(occurred_at, received_at) < fromUnixTimestamp64Micro({dropped_before:Int64}, 'UTC')
    ),
    (
        SELECT count()
        FROM event_hash_by_key
        WHERE event_day < toDate32(fromUnixTimestamp64Micro({settled_before:Int64}, 'UTC'))
    )
