-- How many of a source's events a browser sent, where anyone can change what is sent.
ALTER TABLE source_activity ADD COLUMN IF NOT EXISTS from_browser SimpleAggregateFunction(sum, UInt64);
