-- The tables of Postback before migrations were numbered. A store that has them already becomes version 1 as it is.

-- Conversions, once each: of equal keys the first write wins, for version falls as received_at rises. Merged parts are synced too.
CREATE TABLE IF NOT EXISTS event
(
    account_id LowCardinality(String),
    event_source_id LowCardinality(String),
    event_type LowCardinality(String),
    event_id String,
    event_time DateTime64(6, 'UTC'),
    received_at DateTime64(6, 'UTC'),
    version UInt64 MATERIALIZED 18446744073709551615 - toUnixTimestamp64Micro(received_at),
    action_source LowCardinality(String),
    event_source_url String,
    custom_event_name String,
    custom_data String,
    extra String,
    value Nullable(Decimal(38, 9)) ALIAS
        JSONExtract(if(abs(JSONExtractFloat(custom_data, 'value')) < 1e28, custom_data, ''), 'value', 'Nullable(Decimal(38, 9))'),
    currency String ALIAS JSONExtractString(custom_data, 'currency'),
    match_keys Array(FixedString(16)),
    quality Float32,
    warnings Array(String)
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (account_id, event_source_id, event_type, event_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;

-- Events sent with a test_event_code: a keyspace of its own for each code; deleted after seven days.
CREATE TABLE IF NOT EXISTS test_event
(
    account_id LowCardinality(String),
    event_source_id LowCardinality(String),
    event_type LowCardinality(String),
    event_id String,
    test_event_code String,
    event_time DateTime64(6, 'UTC'),
    received_at DateTime64(6, 'UTC'),
    version UInt64 MATERIALIZED 18446744073709551615 - toUnixTimestamp64Micro(received_at),
    action_source LowCardinality(String),
    event_source_url String,
    custom_event_name String,
    custom_data String,
    extra String,
    value Nullable(Decimal(38, 9)) ALIAS
        JSONExtract(if(abs(JSONExtractFloat(custom_data, 'value')) < 1e28, custom_data, ''), 'value', 'Nullable(Decimal(38, 9))'),
    currency String ALIAS JSONExtractString(custom_data, 'currency'),
    match_keys Array(FixedString(16)),
    quality Float32,
    warnings Array(String)
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (account_id, event_source_id, event_type, event_id, test_event_code)
TTL toDateTime(received_at) + INTERVAL 7 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;

-- Why events failed, without what was in them: the latest reason wins; deleted after thirty days. Live events have no test_event_code.
CREATE TABLE IF NOT EXISTS rejected_event
(
    account_id LowCardinality(String),
    event_source_id LowCardinality(String),
    event_type String,
    event_id String,
    test_event_code String,
    received_at DateTime64(6, 'UTC'),
    reason LowCardinality(String),
    field String,
    message String
)
ENGINE = ReplacingMergeTree(received_at)
ORDER BY (account_id, event_source_id, event_type, event_id, test_event_code)
TTL toDateTime(received_at) + INTERVAL 30 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;

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
ORDER BY (account_id, event_source_id, minute);

-- Impressions and clicks, once each: of equal exposure_ids the first write wins. The hash in front of the id makes it cheap to ask which of many ids are known.
CREATE TABLE IF NOT EXISTS exposure
(
    account_id LowCardinality(String),
    exposure_hash UInt64 MATERIALIZED sipHash64(exposure_id),
    exposure_id String,
    kind LowCardinality(String),
    occurred_at DateTime64(6, 'UTC'),
    received_at DateTime64(6, 'UTC'),
    version UInt64 MATERIALIZED 18446744073709551615 - toUnixTimestamp64Micro(received_at),
    media_buy_id LowCardinality(String),
    package_id LowCardinality(String),
    creative_id LowCardinality(String),
    match_keys Array(FixedString(16)),
    cost Nullable(Decimal(38, 9)),
    currency LowCardinality(String),
    INDEX arrival received_at TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (account_id, exposure_hash, exposure_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;

-- What a package delivered in an hour, from sellers who have totals and no logs: the latest total wins.
CREATE TABLE IF NOT EXISTS delivery_total
(
    account_id LowCardinality(String),
    media_buy_id LowCardinality(String),
    package_id LowCardinality(String),
    hour DateTime('UTC'),
    creative_id LowCardinality(String),
    received_at DateTime64(6, 'UTC'),
    impressions UInt64,
    clicks UInt64,
    spend Decimal(38, 9),
    currency LowCardinality(String)
)
ENGINE = ReplacingMergeTree(received_at)
ORDER BY (account_id, media_buy_id, package_id, hour, creative_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;

-- Exposures by match key. Written by attribution runs; a row written twice collapses. Small granules and blocks: few rows each of many keys are read.
CREATE TABLE IF NOT EXISTS exposure_by_key
(
    account_id LowCardinality(String),
    match_key FixedString(16),
    occurred_at DateTime64(6, 'UTC'),
    exposure_id String,
    kind String,
    media_buy_id String,
    package_id String,
    creative_id String
)
ENGINE = ReplacingMergeTree
PRIMARY KEY (account_id, match_key)
ORDER BY (account_id, match_key, occurred_at, exposure_id)
SETTINGS
    index_granularity = 128, min_compress_block_size = 4096, max_compress_block_size = 16384,
    fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;

-- Events that a goal names, by match key: late exposures find them here. Written by attribution runs.
CREATE TABLE IF NOT EXISTS event_by_key
(
    account_id LowCardinality(String),
    match_key FixedString(16),
    event_source_id LowCardinality(String),
    event_type LowCardinality(String),
    event_id String,
    event_time DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree
PRIMARY KEY (account_id, match_key)
ORDER BY (account_id, match_key, event_source_id, event_type, event_id)
SETTINGS index_granularity = 512, fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;

-- The outcome for each event that a goal names, attributed or not: the newest run wins. Copies of an event in several sources lie side by side.
CREATE TABLE IF NOT EXISTS attribution
(
    account_id LowCardinality(String),
    event_hash UInt64 MATERIALIZED sipHash64(event_type, event_id),
    event_type LowCardinality(String),
    event_id String,
    event_source_id LowCardinality(String),
    run_id UInt64,
    received_at DateTime64(6, 'UTC'),
    event_time DateTime64(6, 'UTC'),
    action_source LowCardinality(String),
    media_buy_id LowCardinality(String),
    package_id LowCardinality(String),
    goal UInt16,
    source_rank UInt16,
    exposure_id String,
    exposure_kind LowCardinality(String),
    exposure_at DateTime64(6, 'UTC'),
    creative_id LowCardinality(String),
    match_kind UInt8,
    counted Bool,
    conversions Int8,
    value Decimal(38, 9),
    INDEX arrival received_at TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(run_id)
PRIMARY KEY (account_id, event_hash)
ORDER BY (account_id, event_hash, event_type, event_id, event_source_id)
SETTINGS index_granularity = 512, fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;

-- Impressions, clicks and their cost by hour. Each run adds its part in one insert, which carries the run's number, so that none is added twice.
CREATE TABLE IF NOT EXISTS exposure_hour
(
    account_id LowCardinality(String),
    media_buy_id LowCardinality(String),
    package_id LowCardinality(String),
    hour DateTime('UTC'),
    creative_id LowCardinality(String),
    currency LowCardinality(String),
    impressions SimpleAggregateFunction(sum, Int64),
    clicks SimpleAggregateFunction(sum, Int64),
    spend SimpleAggregateFunction(sum, Decimal(38, 9)),
    run_id SimpleAggregateFunction(max, UInt64)
)
ENGINE = AggregatingMergeTree
ORDER BY (account_id, media_buy_id, package_id, hour, creative_id, currency)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;

-- Conversions and their value by the hour of the event; value is in the buy's currency. Written as exposure_hour is.
CREATE TABLE IF NOT EXISTS conversion_hour
(
    account_id LowCardinality(String),
    media_buy_id LowCardinality(String),
    package_id LowCardinality(String),
    hour DateTime('UTC'),
    event_type LowCardinality(String),
    action_source LowCardinality(String),
    creative_id LowCardinality(String),
    conversions SimpleAggregateFunction(sum, Int64),
    value SimpleAggregateFunction(sum, Decimal(38, 9)),
    run_id SimpleAggregateFunction(max, UInt64)
)
ENGINE = AggregatingMergeTree
ORDER BY (account_id, media_buy_id, package_id, hour, event_type, action_source, creative_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1;

-- Lets a run find new events without reading the old ones.
ALTER TABLE event ADD INDEX IF NOT EXISTS arrival received_at TYPE minmax GRANULARITY 1;

-- The outcomes of the run at work, on disk: a run that was interrupted after its sums were added is completed from here.
CREATE TABLE IF NOT EXISTS run_outcome
(
    account_id LowCardinality(String),
    event_type LowCardinality(String),
    event_id String,
    event_source_id LowCardinality(String),
    run_id UInt64,
    received_at DateTime64(6, 'UTC'),
    event_time DateTime64(6, 'UTC'),
    action_source LowCardinality(String),
    media_buy_id LowCardinality(String),
    package_id LowCardinality(String),
    goal UInt16,
    source_rank UInt16,
    exposure_id String,
    exposure_kind LowCardinality(String),
    exposure_at DateTime64(6, 'UTC'),
    creative_id LowCardinality(String),
    match_kind UInt8,
    counted Bool,
    conversions Int8,
    value Decimal(38, 9)
)
ENGINE = MergeTree
ORDER BY tuple()
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
