-- Scratch of a run: packages whose exposures count. Packages with equal rules share a rule set.
CREATE TEMPORARY TABLE run_package
(
    media_buy_id LowCardinality(String),
    package_id LowCardinality(String),
    rule_set UInt32
)
ENGINE = Memory
