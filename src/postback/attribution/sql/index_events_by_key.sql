-- Makes the events findable by their match keys, but for those that are settled: nothing restates them.
INSERT INTO event_hash_by_key
SELECT {account_id:String}, arrayJoin(match_keys), sipHash64(event_type, event_id), toDate32(event_time)
FROM run_event
WHERE event_kind > 0 AND toUnixTimestamp64Micro(event_time) >= {settled_before:Int64}
