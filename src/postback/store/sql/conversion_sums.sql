-- What a media buy achieved under these values, from the sums that reports read.
SELECT sum(conversions), sum(value)
FROM conversion_hour
WHERE account_id = {account_id:String} AND media_buy_id = {media_buy_id:String}
    AND hour >= {start:DateTime('UTC')} AND hour < {end:DateTime('UTC')}
    AND ({package_id:String} = '' OR package_id = {package_id:String})
    AND ({creative_id:String} = '' OR creative_id = {creative_id:String})
    AND ({event_type:String} = '' OR event_type = {event_type:String})
    AND ({action_source:String} = '' OR action_source = {action_source:String})
    AND ({value_reason:String} = '' OR value_reason = {value_reason:String})
