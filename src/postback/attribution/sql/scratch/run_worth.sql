-- Scratch of a run: the value of each choice, or why it is 0 and what was left out. Stated: the event says an amount.
CREATE TEMPORARY TABLE run_worth
(
    number UInt64,
    follows UInt64,
    worth Decimal(38, 9),
    value_reason LowCardinality(String),
    left_out Decimal(38, 9),
    left_out_currency LowCardinality(String),
    stated Bool
)
ENGINE = Memory
