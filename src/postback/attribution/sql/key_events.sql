-- Makes the events findable by their match keys.
INSERT INTO event_by_key
SELECT {account_id:String}, arrayJoin(match_keys), event_source_id, event_type, event_id, event_time
FROM run_event
