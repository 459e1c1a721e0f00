-- Which events come next that some run attributed to a media buy and that are reported under these values, newest first. Later runs may have moved them, and an event may come twice: without FINAL, which reads whole rows, half of the work. Of all of them only the times are read at first, since that of the last one that is wanted leaves few whose names have to be read.
WITH reported AS
(
    SELECT event_source_id, event_type, event_id, event_time, event_hash
    FROM attribution
    WHERE account_id = {account_id:String} AND media_buy_id = {media_buy_id:String}
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
SELECT event_source_id, event_type, event_id, event_time, event_hash
FROM reported
WHERE event_time >=
    (
        SELECT min(event_time)
        FROM
        (
            SELECT event_time
            FROM reported
            WHERE {first:Bool} OR event_time < fromUnixTimestamp64Micro({last_time:Int64}, 'UTC')
            ORDER BY event_time DESC
            LIMIT {most:UInt32}
        )
    )
    AND ({first:Bool} OR event_time <= fromUnixTimestamp64Micro({last_time:Int64}, 'UTC'))
    AND (
        {first:Bool} OR event_time < fromUnixTimestamp64Micro({last_time:Int64}, 'UTC')
        OR (event_type, event_id, event_source_id) < ({last_type:String}, {last_id:String}, {last_source:String})
    )
ORDER BY event_time DESC, event_type DESC, event_id DESC, event_source_id DESC
LIMIT {most:UInt32}
