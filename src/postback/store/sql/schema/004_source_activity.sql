-- What arrived from each source, by the minute: health is read from here, since event is not in the order of time.
CREATE TABLE IF NOT EXISTS source_activity
(
    account_id LowCardinality(String),
    event_source_id LowCardinality(String),
    minute DateTime('UTC'),
    accepted SimpleAggregateFunction(sum, UInt64),
    rejected SimpleAggregateFunction(sum, UInt64),
    quality SimpleAggregateFunction(sum, Float64),
    last_event_at SimpleAggregateFunction(max, Nullable(DateTime64(6, 'UTC')))
)
ENGINE = AggregatingMergeTree
ORDER BY (account_id, event_source_id, minute)
