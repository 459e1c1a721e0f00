-- Several servers may insert into a store: a server that was killed after an insert repeats it when it is back, after many of the others. As many tokens as replicated tables remember.
ALTER TABLE source_activity MODIFY SETTING non_replicated_deduplication_window = 10000;

ALTER TABLE invalid_click MODIFY SETTING non_replicated_deduplication_window = 10000;

ALTER TABLE receipt MODIFY SETTING non_replicated_deduplication_window = 10000;

ALTER TABLE receipt_hour MODIFY SETTING non_replicated_deduplication_window = 10000;
