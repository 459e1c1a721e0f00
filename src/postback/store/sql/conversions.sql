-- What was attributed to a media buy, newest event first.
SELECT
    event_source_id, event_type, event_id, event_time, action_source, run_id, package_id, goal, exposure_id, exposure_kind,
    exposure_at, creative_id, match_kind, counted, conversions, value,
    lead_source_id, value_reason, left_out, left_out_currency, purchase_source_id, purchase_type, purchase_id
FROM attribution FINAL
WHERE account_id = {account_id:String} AND media_buy_id = {media_buy_id:String}
    AND (
        {first:Bool}
        OR (toUnixTimestamp64Micro(event_time), event_type, event_id, event_source_id)
            < ({event_time:Int64}, {event_type:String}, {event_id:String}, {event_source_id:String})
    )
ORDER BY event_time DESC, event_type DESC, event_id DESC, event_source_id DESC
LIMIT {most:UInt32}
