-- Per source of an account, of the events of the last seven days that a goal names: how many there are, how many were attributed, how late they came, and why how many count no value, or not all of it. All outcomes of an event have its time of receipt, so older ones need not be read.
SELECT
    event_source_id, sum(events), sum(matched), quantileExactMerge(0.5)(delays) / 1e6,
    arraySort(counted -> (-counted.2, counted.1), groupArrayIf((value_reason, events), value_reason != ''))
FROM
(
    SELECT
        event_source_id, value_reason, count() AS events, countIf(media_buy_id != '') AS matched,
        quantileExactState(0.5)(toUnixTimestamp64Micro(received_at) - toUnixTimestamp64Micro(event_time)) AS delays
    FROM attribution FINAL
    PREWHERE account_id = {account_id:String} AND received_at > now64(6, 'UTC') - INTERVAL 7 DAY
    GROUP BY event_source_id, value_reason
)
GROUP BY event_source_id
