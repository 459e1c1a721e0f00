-- Of the run at work: the packages whose exposures count. Packages with equal rules share a class.
CREATE TABLE IF NOT EXISTS run_package
(
    media_buy_id LowCardinality(String),
    package_id LowCardinality(String),
    class UInt32
)
ENGINE = Memory
