-- The newest outcomes of events with these hashes in a stretch of the list, as far as they still are attributed to the media buy and reported under these values, newest event first.
SELECT
    event_source_id, event_type, event_id, event_time, action_source, run_id, package_id, goal, exposure_id, exposure_kind,
    exposure_at, creative_id, match_kind, counted, conversions, value,
    lead_source_id, value_reason, left_out, left_out_currency, purchase_source_id, purchase_type, purchase_id, reported_at
FROM
(
    SELECT *
    FROM attribution
    WHERE account_id = {account_id:String} AND event_hash IN {hashes:Array(UInt64)}
    ORDER BY run_id DESC
    LIMIT 1 BY event_type, event_id, event_source_id
)
WHERE media_buy_id = {media_buy_id:String}
    AND (
        {first:Bool}
        OR (toUnixTimestamp64Micro(event_time), event_type, event_id, event_source_id)
            < ({last_time:Int64}, {last_type:String}, {last_id:String}, {last_source:String})
    )
    AND (toUnixTimestamp64Micro(event_time), event_type, event_id, event_source_id)
        >= ({end_time:Int64}, {end_type:String}, {end_id:String}, {end_source:String})
    AND reported_at >= {start:DateTime('UTC')} AND reported_at < {end:DateTime('UTC')}
    AND ({package_id:String} = '' OR package_id = {package_id:String})
    AND ({creative_id:String} = '' OR creative_id = {creative_id:String})
    AND ({event_source_id:String} = '' OR event_source_id = {event_source_id:String})
    AND ({event_type:String} = '' OR reported_type = {event_type:String})
    AND ({action_source:String} = '' OR reported_action_source = {action_source:String})
    AND ({value_reason:String} = '' OR value_reason = {value_reason:String})
    AND ({kind:String} != 'conversion' OR conversions != 0)
    AND ({kind:String} != 'refund' OR (counted AND conversions = 0))
ORDER BY event_time DESC, event_type DESC, event_id DESC, event_source_id DESC
