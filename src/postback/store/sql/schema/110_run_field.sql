-- Of the run at work: the members of custom_data that goals take as value, by number.
CREATE TABLE IF NOT EXISTS run_field (field UInt16, name String) ENGINE = Memory
