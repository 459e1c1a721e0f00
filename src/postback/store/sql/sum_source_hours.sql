-- Sums up the hours from begin to end, which are over. Hours that were summed before get their newer sums.
INSERT INTO source_hour
(
    hour, account_id, event_source_id, accepted, rejected, quality, blocks, last_minute, outcomes, attributed, summed_at
)
SELECT
    hour, account_id, event_source_id, sum(accepted_), sum(rejected_), sum(quality_), groupArrayArray(blocks_), max(last_minute_),
    sum(outcomes_), sum(attributed_), now('UTC')
FROM
(
    SELECT
        toStartOfHour(minute) AS hour, account_id, event_source_id, sum(accepted) AS accepted_,
        sum(rejected) AS rejected_, sum(quality) AS quality_,
        arraySort(groupUniqArray(toUInt8(intDiv(toMinute(minute), 5)))) AS blocks_, max(minute) AS last_minute_,
        0 AS outcomes_, 0 AS attributed_
    FROM source_activity
    WHERE minute >= {begin:DateTime('UTC')} AND minute < {end:DateTime('UTC')}
    GROUP BY hour, account_id, event_source_id
    UNION ALL
    SELECT
        toStartOfHour(toDateTime(received_at, 'UTC')) AS hour, account_id, event_source_id, 0, 0, 0, [],
        toDateTime(0, 'UTC'), count(), countIf(media_buy_id != '')
    FROM attribution
    WHERE received_at >= {begin:DateTime('UTC')} AND received_at < {end:DateTime('UTC')}
    GROUP BY hour, account_id, event_source_id
)
GROUP BY hour, account_id, event_source_id
