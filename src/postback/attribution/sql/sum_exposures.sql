-- Adds the new exposures to the sums by hour, in one block that carries the run's number.
INSERT INTO exposure_hour (account_id, media_buy_id, package_id, hour, creative_id, currency, impressions, clicks, spend, run_id)
SELECT
    {account_id:String}, media_buy_id, package_id, toStartOfHour(occurred_at) AS hour, creative_id, currency,
    countIf(kind = 'impression'), countIf(kind = 'click'), ifNull(sum(cost), JSONExtract('0', 'Decimal(38, 9)')), {run_id:UInt64}
FROM run_exposure
WHERE exposure_id NOT IN (SELECT exposure_id FROM run_known_exposure)
GROUP BY media_buy_id, package_id, hour, creative_id, currency
UNION ALL
SELECT {account_id:String}, '', '', toDateTime(0, 'UTC'), '', '', 0, 0, JSONExtract('0', 'Decimal(38, 9)'), {run_id:UInt64}
SETTINGS max_insert_threads = 1, min_insert_block_size_rows = 1000000000, min_insert_block_size_bytes = 0
