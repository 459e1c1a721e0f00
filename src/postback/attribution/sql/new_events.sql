-- The events that arrived in a span of time and that a goal names: of copies the first.
INSERT INTO run_new
SELECT event_source_id, event_type, event_id, received_at, event_time, action_source, match_keys, kind, amounts, currency
FROM named_event
WHERE account_id = {account_id:String}
    AND received_at > fromUnixTimestamp64Micro({after:Int64}, 'UTC')
    AND received_at <= fromUnixTimestamp64Micro({through:Int64}, 'UTC')
    AND kind > 0
ORDER BY received_at
LIMIT 1 BY event_source_id, event_type, event_id
