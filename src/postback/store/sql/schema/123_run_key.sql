-- Of the run at work: what each event can be matched by.
CREATE TABLE IF NOT EXISTS run_key
(
    match_key FixedString(16),
    number UInt64,
    kind UInt32,
    event_time DateTime64(6, 'UTC'),
    match_kind UInt8,
    shared Bool
)
ENGINE = Memory
