-- Which events come next that some run attributed to a media buy and that are reported under these values, newest first. Later runs may have moved them, and an event may come twice: without FINAL, which reads whole rows, half of the work.
SELECT event_source_id, event_type, event_id, event_time, event_hash
FROM attribution
WHERE account_id = {account_id:String} AND media_buy_id = {media_buy_id:String}
    AND reported_at >= {start:DateTime('UTC')} AND reported_at < {end:DateTime('UTC')}
    AND ({package_id:String} = '' OR package_id = {package_id:String})
    AND ({creative_id:String} = '' OR creative_id = {creative_id:String})
    AND ({event_source_id:String} = '' OR event_source_id = {event_source_id:String})
    AND ({event_type:String} = '' OR reported_type = {event_type:String})
    AND ({action_source:String} = '' OR reported_action_source = {action_source:String})
    AND ({value_reason:String} = '' OR value_reason = {value_reason:String})
    AND ({kind:String} != 'conversion' OR conversions != 0)
    AND ({kind:String} != 'refund' OR (counted AND conversions = 0))
    AND (
        {first:Bool}
        OR (toUnixTimestamp64Micro(event_time), event_type, event_id, event_source_id)
            < ({last_time:Int64}, {last_type:String}, {last_id:String}, {last_source:String})
    )
ORDER BY event_time DESC, event_type DESC, event_id DESC, event_source_id DESC
LIMIT {most:UInt32}
