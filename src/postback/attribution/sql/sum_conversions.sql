-- Adds what the run changed to the sums by hour, in one block with the mark of the run.
INSERT INTO conversion_hour (account_id, media_buy_id, package_id, hour, event_type, action_source, creative_id, conversions, value, run_id)
SELECT
    {account_id:String}, media_buy_id, package_id, hour, event_type, action_source, creative_id,
    sum(change) AS conversions, sum(worth) AS value, {run_id:UInt64}
FROM
(
    SELECT
        media_buy_id, package_id, toStartOfHour(event_time) AS hour, event_type, action_source, creative_id,
        toInt64(conversions) AS change, value AS worth
    FROM run_outcome
    WHERE counted AND run_id = {run_id:UInt64}
    UNION ALL
    SELECT
        media_buy_id, package_id, toStartOfHour(event_time) AS hour, event_type, action_source, creative_id,
        -toInt64(conversions), -value
    FROM run_prior
    WHERE counted AND (event_source_id, event_type, event_id) IN
        (SELECT event_source_id, event_type, event_id FROM run_event)
)
GROUP BY media_buy_id, package_id, hour, event_type, action_source, creative_id
HAVING conversions != 0 OR value != JSONExtract('0', 'Decimal(38, 9)')
UNION ALL
SELECT {account_id:String}, '', '', toDateTime(0, 'UTC'), '', '', '', 0, JSONExtract('0', 'Decimal(38, 9)'), {run_id:UInt64}
SETTINGS max_insert_threads = 1, min_insert_block_size_rows = 1000000000, min_insert_block_size_bytes = 0
