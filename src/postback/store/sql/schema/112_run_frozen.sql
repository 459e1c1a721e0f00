-- Of the run at work: the packages whose numbers are final, and since when.
CREATE TABLE IF NOT EXISTS run_frozen
(
    media_buy_id LowCardinality(String),
    package_id LowCardinality(String),
    finalized_at DateTime64(6, 'UTC')
)
ENGINE = Memory
