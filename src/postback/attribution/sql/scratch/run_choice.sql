-- Scratch of a run: the goal option that a business event counts by, and the number of the purchase that it follows; 0 for none. Its siblings as run_business has them.
CREATE TEMPORARY TABLE run_choice
(
    number UInt64,
    follows UInt64,
    rule_set UInt32,
    currency String,
    option Tuple(
        goal UInt16,
        source_rank UInt16,
        lead UInt16,
        click_us Int64,
        view_us Int64,
        valued UInt16,
        field UInt16,
        factor Decimal(38, 18),
        refund Bool
    ),
    event_type LowCardinality(String),
    siblings Array(Tuple(
        event_kind UInt32,
        event_source_id String,
        event_time DateTime64(6, 'UTC'),
        received_at DateTime64(6, 'UTC'),
        action_source String,
        amounts Array(Nullable(Decimal(38, 9))),
        stated Array(Bool),
        currency String
    ))
)
ENGINE = Memory
