-- The events that arrived in a span of time and that a goal names, copies included.
INSERT INTO run_new
SELECT
    event_source_id, event_type, event_id, custom_event_name, received_at, event_time, action_source, match_keys, event_kind,
    linked, amounts, stated, currency, order_id
FROM named_event
WHERE account_id = {account_id:String}
    AND received_at > fromUnixTimestamp64Micro({after:Int64}, 'UTC')
    AND received_at <= fromUnixTimestamp64Micro({through:Int64}, 'UTC')
    AND event_kind > 0
SETTINGS max_block_size = 16384, merge_tree_min_rows_for_concurrent_read = 16384
