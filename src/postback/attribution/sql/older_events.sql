-- The stored events of one source and type within a span of ids, as far as they arrived by a moment, copies included.
INSERT INTO run_new
SELECT
    event_source_id, event_type, event_id, custom_event_name, received_at, event_time, action_source, match_keys, event_kind,
    linked, amounts, stated, currency, order_id
FROM named_event
WHERE account_id = {account_id:String} AND event_source_id = {event_source_id:String} AND event_type = {event_type:String}
    AND event_id > {after:String} AND ({end:String} = '' OR event_id <= {end:String})
    AND received_at <= fromUnixTimestamp64Micro({through:Int64}, 'UTC')
    AND (event_kind > 0 OR {unnamed:Bool})
SETTINGS max_block_size = 16384, merge_tree_min_rows_for_concurrent_read = 16384
