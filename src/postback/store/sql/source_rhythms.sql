-- Per source, of one account or of all: what is usual in each hour of the week, and what arrived lately. Complete hours are read from their sums, the rest by the minute. Usual hours are shown only for sources without an event since quiet_since, and for those that are named.
WITH hours AS
(
    SELECT
        account_id, event_source_id, hour, accepted, rejected, quality, blocks, last_minute, outcomes, attributed
    FROM source_hour FINAL
    WHERE hour >= {since:DateTime('UTC')} AND hour < {summed:DateTime('UTC')}
        AND ({account_id:String} = '' OR account_id = {account_id:String})
    UNION ALL
    SELECT
        account_id, event_source_id, toStartOfHour(minute), sum(accepted), sum(rejected), sum(quality),
        arraySort(groupUniqArray(toUInt8(intDiv(toMinute(minute), 5)))), max(minute), 0, 0
    FROM source_activity
    WHERE minute >= {summed:DateTime('UTC')} AND minute >= {since:DateTime('UTC')}
        AND ({account_id:String} = '' OR account_id = {account_id:String})
    GROUP BY account_id, event_source_id, toStartOfHour(minute)
    UNION ALL
    SELECT
        account_id, event_source_id, toStartOfHour(toDateTime(received_at, 'UTC')), 0, 0, 0, [], toDateTime(0, 'UTC'),
        count(), countIf(media_buy_id != '')
    FROM attribution
    WHERE received_at >= {summed:DateTime('UTC')} AND received_at >= {since:DateTime('UTC')}
        AND ({account_id:String} = '' OR account_id = {account_id:String})
    GROUP BY account_id, event_source_id, toStartOfHour(toDateTime(received_at, 'UTC'))
)
SELECT
    account_id,
    event_source_id,
    min(first_hour_),
    max(last_minute_),
    max(last_minute_) < {quiet_since:DateTime('UTC')}
        OR has({shown:Array(String)}, concat(account_id, '\n', event_source_id)) AS shown_,
    if(shown_, groupArray(hour_of_week), []),
    if(shown_, groupArray(active_), []),
    if(shown_, groupArray(events_), []),
    if(shown_, groupArray(weeks_), []),
    if(shown_, groupArray(least_), []),
    groupArrayArray(blocks_now_),
    groupArrayArray(blocks_before_),
    tuple(sum(accepted_day_), sum(rejected_day_), sum(quality_day_), sum(attributed_day_), sum(outcomes_day_)),
    tuple(sum(rejected_now_), sum(events_now_), sum(attributed_now_), sum(outcomes_now_)),
    tuple(sum(rejected_before_), sum(events_before_), sum(attributed_before_), sum(outcomes_before_)),
    tuple(
        sumIf(rejected_usual_, same_hour), sumIf(events_usual_, same_hour),
        sumIf(attributed_usual_, same_hour), sumIf(outcomes_usual_, same_hour)
    ),
    tuple(sum(rejected_usual_), sum(events_usual_), sum(attributed_usual_), sum(outcomes_usual_))
FROM
(
    SELECT
        account_id,
        event_source_id,
        (toDayOfWeek(hour) - 1) * 24 + toHour(hour) AS hour_of_week,
        hour_of_week = (toDayOfWeek({this_hour:DateTime('UTC')}) - 1) * 24 + toHour({this_hour:DateTime('UTC')}) AS same_hour,
        min(hour) AS first_hour_,
        max(last_minute) AS last_minute_,
        sumIf(length(blocks), hour < {learnt_before:DateTime('UTC')}) AS active_,
        sumIf(accepted + rejected, hour < {learnt_before:DateTime('UTC')}) AS events_,
        countIf(notEmpty(blocks) AND hour < {learnt_before:DateTime('UTC')}) AS weeks_,
        minIf(length(blocks), notEmpty(blocks) AND hour < {learnt_before:DateTime('UTC')}) AS least_,
        groupArrayArrayIf(blocks, hour = {this_hour:DateTime('UTC')}) AS blocks_now_,
        groupArrayArrayIf(blocks, hour = {this_hour:DateTime('UTC')} - INTERVAL 1 HOUR) AS blocks_before_,
        sumIf(accepted, hour > {this_hour:DateTime('UTC')} - INTERVAL 24 HOUR) AS accepted_day_,
        sumIf(rejected, hour > {this_hour:DateTime('UTC')} - INTERVAL 24 HOUR) AS rejected_day_,
        sumIf(quality, hour > {this_hour:DateTime('UTC')} - INTERVAL 24 HOUR) AS quality_day_,
        sumIf(attributed, hour > {this_hour:DateTime('UTC')} - INTERVAL 24 HOUR) AS attributed_day_,
        sumIf(outcomes, hour > {this_hour:DateTime('UTC')} - INTERVAL 24 HOUR) AS outcomes_day_,
        sumIf(rejected, hour = {this_hour:DateTime('UTC')}) AS rejected_now_,
        sumIf(accepted + rejected, hour = {this_hour:DateTime('UTC')}) AS events_now_,
        sumIf(attributed, hour = {this_hour:DateTime('UTC')}) AS attributed_now_,
        sumIf(outcomes, hour = {this_hour:DateTime('UTC')}) AS outcomes_now_,
        sumIf(rejected, hour = {this_hour:DateTime('UTC')} - INTERVAL 1 HOUR) AS rejected_before_,
        sumIf(accepted + rejected, hour = {this_hour:DateTime('UTC')} - INTERVAL 1 HOUR) AS events_before_,
        sumIf(attributed, hour = {this_hour:DateTime('UTC')} - INTERVAL 1 HOUR) AS attributed_before_,
        sumIf(outcomes, hour = {this_hour:DateTime('UTC')} - INTERVAL 1 HOUR) AS outcomes_before_,
        sumIf(rejected, hour < {learnt_before:DateTime('UTC')}) AS rejected_usual_,
        sumIf(accepted + rejected, hour < {learnt_before:DateTime('UTC')}) AS events_usual_,
        sumIf(attributed, hour < {learnt_before:DateTime('UTC')}) AS attributed_usual_,
        sumIf(outcomes, hour < {learnt_before:DateTime('UTC')}) AS outcomes_usual_
    FROM hours
    GROUP BY account_id, event_source_id, hour_of_week
)
GROUP BY account_id, event_source_id
HAVING max(last_minute_) > toDateTime(0, 'UTC')
