-- Lets a run find the events that are new without reading the old ones.
ALTER TABLE event ADD INDEX IF NOT EXISTS arrival received_at TYPE minmax GRANULARITY 1
