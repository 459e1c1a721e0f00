-- Begins to drop the match keys by which settled events are found.
ALTER TABLE event_hash_by_key
DELETE WHERE event_day < toDate32(fromUnixTimestamp64Micro({settled_before:Int64}, 'UTC'))
SETTINGS mutations_sync = 0
