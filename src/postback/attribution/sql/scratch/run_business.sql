-- Scratch of a run: its business events, numbered. Settled: what they count for stays, since they are older than retention settles, or final, counted in a package whose numbers are final.
CREATE TEMPORARY TABLE run_business
(
    number UInt64,
    event_type LowCardinality(String),
    event_id String,
    sibling_set UInt32,
    may_refund Bool,
    settled Bool,
    final Bool,
    siblings Array(Tuple(
        event_kind UInt32,
        event_source_id String,
        event_time DateTime64(6, 'UTC'),
        received_at DateTime64(6, 'UTC'),
        action_source String,
        amounts Array(Nullable(Decimal(38, 9))),
        stated Array(Bool),
        currency String
    )),
    match_keys Array(FixedString(16)),
    order_ids Array(String)
)
ENGINE = Memory
