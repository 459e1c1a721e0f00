-- New rows are written as one file, until merges have made much of them: a file for each column took a third to a half of the time of an insert.
ALTER TABLE event MODIFY SETTING min_bytes_for_wide_part = 134217728;
ALTER TABLE receipt MODIFY SETTING min_bytes_for_wide_part = 134217728;
ALTER TABLE attribution MODIFY SETTING min_bytes_for_wide_part = 134217728;
