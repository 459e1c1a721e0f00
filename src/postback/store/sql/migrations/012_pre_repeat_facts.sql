-- The engine notes the token of an insert before the part is in its place: killed between the two, it would drop the insert that repeats it. Facts collapse by their keys, so they need no tokens; only sums do.
ALTER TABLE event MODIFY SETTING non_replicated_deduplication_window = 0;
ALTER TABLE test_event MODIFY SETTING non_replicated_deduplication_window = 0;
ALTER TABLE rejected_event MODIFY SETTING non_replicated_deduplication_window = 0;
ALTER TABLE exposure MODIFY SETTING non_replicated_deduplication_window = 0;
ALTER TABLE delivery_total MODIFY SETTING non_replicated_deduplication_window = 0;
