-- Which events come next that some run attributed to a media buy and that are reported under these values, newest first. Later runs may have moved them, and an event may come twice. Those at their own time and refunds are read in the order of the list, as far as they are wanted.
WITH reported AS
(
    SELECT event_source_id, event_type, event_id, event_time, at_own_time
    FROM attributed_event
    WHERE account_id = {account_id:String} AND media_buy_id = {media_buy_id:String}
        AND ({first:Bool} OR event_time <= fromUnixTimestamp64Micro({last_time:Int64}, 'UTC'))
        AND (
            {first:Bool} OR event_time < fromUnixTimestamp64Micro({last_time:Int64}, 'UTC')
            OR (event_type, event_id, event_source_id) < ({last_type:String}, {last_id:String}, {last_source:String})
        )
        AND (NOT {dated:Bool} OR (reported_at >= {start:DateTime('UTC')} AND reported_at < {end:DateTime('UTC')}))
        AND ({package_id:String} = '' OR package_id = {package_id:String})
        AND ({creative_id:String} = '' OR creative_id = {creative_id:String})
        AND ({event_source_id:String} = '' OR event_source_id = {event_source_id:String})
        AND ({event_type:String} = '' OR reported_type = {event_type:String})
        AND ({action_source:String} = '' OR reported_action_source = {action_source:String})
        AND ({value_reason:String} = '' OR value_reason = {value_reason:String})
        AND ({kind:String} != 'conversion' OR conversions != 0)
        AND ({kind:String} != 'refund' OR (counted AND conversions = 0))
)
SELECT event_source_id, event_type, event_id, event_time, sipHash64(event_type, event_id)
FROM
(
    SELECT event_source_id, event_type, event_id, event_time
    FROM reported
    WHERE at_own_time = true
        AND (NOT {dated:Bool} OR (event_time >= {start:DateTime('UTC')} AND event_time < {end:DateTime('UTC')}))
    ORDER BY event_time DESC, event_type DESC, event_id DESC, event_source_id DESC
    LIMIT {most:UInt32}
    UNION ALL
    SELECT event_source_id, event_type, event_id, event_time
    FROM reported
    WHERE at_own_time = false
    ORDER BY event_time DESC, event_type DESC, event_id DESC, event_source_id DESC
    LIMIT {most:UInt32}
)
ORDER BY event_time DESC, event_type DESC, event_id DESC, event_source_id DESC
LIMIT {most:UInt32}
