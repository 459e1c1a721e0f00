-- Scratch of a run: the fields of custom_data that goals use as value, by number.
CREATE TEMPORARY TABLE run_field (field UInt16, name String) ENGINE = Memory
