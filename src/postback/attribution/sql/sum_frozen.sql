-- Adds the outcomes that a rebuild kept to the sums by hour, in one block with the mark of the run.
INSERT INTO conversion_hour (account_id, media_buy_id, package_id, hour, event_type, action_source, creative_id, conversions, value, run_id)
SELECT
    account_id, media_buy_id, package_id, toStartOfHour(event_time) AS hour, event_type, action_source, creative_id,
    sum(conversions), sum(value), {run_id:UInt64}
FROM attribution FINAL
WHERE account_id = {account_id:String} AND counted
GROUP BY account_id, media_buy_id, package_id, hour, event_type, action_source, creative_id
UNION ALL
SELECT {account_id:String}, '', '', toDateTime(0, 'UTC'), '', '', '', 0, JSONExtract('0', 'Decimal(38, 9)'), {run_id:UInt64}
SETTINGS max_insert_threads = 1, min_insert_block_size_rows = 1000000000, min_insert_block_size_bytes = 0
