-- Of the run at work: what goals name, as type, source and custom name in lines, by number.
CREATE TABLE IF NOT EXISTS run_kind (kind UInt32, name String) ENGINE = Memory
