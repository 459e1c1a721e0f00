-- Scratch of a run: packages whose numbers are final, and since when.
CREATE TEMPORARY TABLE run_frozen
(
    media_buy_id LowCardinality(String),
    package_id LowCardinality(String),
    finalized_at DateTime64(6, 'UTC'),
    rule_set UInt32
)
ENGINE = Memory
