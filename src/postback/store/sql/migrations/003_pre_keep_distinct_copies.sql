-- Copies of an event that differ are kept: copy is a digest of what the sender may have changed, 0 in rows from before.
-- Exact repeats still collapse to the first. Readers take the first row of an identity by received_at.
ALTER TABLE event ADD COLUMN IF NOT EXISTS copy UInt32, MODIFY ORDER BY (account_id, event_source_id, event_type, event_id, copy);

-- Whether the event was known when it arrived: 0 as far as is known it was not, 1 it was, 2 and differs from the first.
ALTER TABLE event ADD COLUMN IF NOT EXISTS duplicate UInt8;

-- The same for exposures.
ALTER TABLE exposure ADD COLUMN IF NOT EXISTS copy UInt32, MODIFY ORDER BY (account_id, exposure_hash, exposure_id, copy);

-- How many of the accepted events were known, and how many of those differ from the first.
ALTER TABLE source_activity ADD COLUMN IF NOT EXISTS duplicates SimpleAggregateFunction(sum, UInt64);
ALTER TABLE source_activity ADD COLUMN IF NOT EXISTS different SimpleAggregateFunction(sum, UInt64);
