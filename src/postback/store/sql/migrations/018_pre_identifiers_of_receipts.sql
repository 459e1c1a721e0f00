-- When an accepted live event happened and which kinds of identifiers it has, as the first bytes of its match keys: what a source's page counts for a day is read in the order of receipt, not from among all events. Receipts from before say neither.
ALTER TABLE receipt ADD COLUMN IF NOT EXISTS event_time DateTime64(6, 'UTC'), ADD COLUMN IF NOT EXISTS kinds LowCardinality(String);
