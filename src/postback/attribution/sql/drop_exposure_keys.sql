-- Begins to drop the identifiers of exposures that happened and arrived before a time.
ALTER TABLE exposure
UPDATE match_keys = [], dropped = true
WHERE NOT dropped AND greatest(occurred_at, received_at) < fromUnixTimestamp64Micro({dropped_before:Int64}, 'UTC')
SETTINGS mutations_sync = 0
