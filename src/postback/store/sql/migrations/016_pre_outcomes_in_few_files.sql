-- A run's outcomes are written as one file: a file for each of thirty columns took a third of the time.
ALTER TABLE attribution MODIFY SETTING min_bytes_for_wide_part = 134217728;
