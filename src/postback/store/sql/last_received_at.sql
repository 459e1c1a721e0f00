-- The newest received_at of anything that attribution reads, in µs since the epoch; 0 when there is nothing.
SELECT max(newest)
FROM
(
    SELECT toUnixTimestamp64Micro(ifNull(max(last_event_at), toDateTime64(0, 6, 'UTC'))) AS newest FROM source_activity
    UNION ALL
    SELECT toUnixTimestamp64Micro(max(received_at)) FROM exposure
    UNION ALL
    SELECT toUnixTimestamp64Micro(max(received_at)) FROM delivery_total
)
