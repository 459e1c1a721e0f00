-- The newest received_at of any live event, in µs since the epoch; 0 when there is none.
SELECT toUnixTimestamp64Micro(ifNull(max(last_event_at), toDateTime64(0, 6, 'UTC'))) FROM source_activity
