-- Per source of an account, of the events of the last seven days that a goal names: how many there are, how many were attributed, and how late they came.
SELECT
    event_source_id, count(), countIf(media_buy_id != ''),
    quantileExact(0.5)(toUnixTimestamp64Micro(received_at) - toUnixTimestamp64Micro(event_time)) / 1e6
FROM attribution FINAL
WHERE account_id = {account_id:String} AND received_at > now64(6, 'UTC') - INTERVAL 7 DAY
GROUP BY event_source_id
