-- Makes the events findable by their match keys.
INSERT INTO event_hash_by_key
SELECT {account_id:String}, arrayJoin(match_keys), sipHash64(event_type, event_id)
FROM run_event
WHERE event_kind > 0
