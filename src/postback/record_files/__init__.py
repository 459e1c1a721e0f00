"""Files of records: CSV, NDJSON, JSON arrays and Parquet, compressed or not, read a block at a time."""
