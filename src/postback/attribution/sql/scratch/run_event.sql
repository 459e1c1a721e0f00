-- Scratch of a run: the events to attribute, once each: what the first copy has, with the identifiers of all.
CREATE TEMPORARY TABLE run_event
(
    event_source_id LowCardinality(String),
    event_type LowCardinality(String),
    event_id String,
    custom_event_name String,
    received_at DateTime64(6, 'UTC'),
    event_time DateTime64(6, 'UTC'),
    action_source LowCardinality(String),
    match_keys Array(FixedString(16)),
    event_kind UInt32,
    linked String,
    amounts Array(Nullable(Decimal(38, 9))),
    stated Array(Bool),
    currency String,
    order_id String
)
ENGINE = Memory
