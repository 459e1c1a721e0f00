-- The engine remembers the last inserts into the tables of facts by their tokens, so that the ingest log can repeat one.
ALTER TABLE event MODIFY SETTING non_replicated_deduplication_window = 100;

ALTER TABLE test_event MODIFY SETTING non_replicated_deduplication_window = 100;

ALTER TABLE rejected_event MODIFY SETTING non_replicated_deduplication_window = 100;

ALTER TABLE exposure MODIFY SETTING non_replicated_deduplication_window = 100;

ALTER TABLE delivery_total MODIFY SETTING non_replicated_deduplication_window = 100;

-- Their views write here.
ALTER TABLE source_activity MODIFY SETTING non_replicated_deduplication_window = 100;
