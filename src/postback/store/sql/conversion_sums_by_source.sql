-- What a media buy achieved under these values, by the source of the event that counts: conversions and their value, and apart from them the refunds.
SELECT
    event_source_id, sum(conversions), sumIf(value, conversions != 0), countIf(conversions = 0), sumIf(value, conversions = 0)
FROM attribution FINAL
WHERE account_id = {account_id:String} AND media_buy_id = {media_buy_id:String}
    AND reported_at >= {start:DateTime('UTC')} AND reported_at < {end:DateTime('UTC')}
    AND ({package_id:String} = '' OR package_id = {package_id:String})
    AND ({creative_id:String} = '' OR creative_id = {creative_id:String})
    AND ({event_source_id:String} = '' OR event_source_id = {event_source_id:String})
    AND ({event_type:String} = '' OR reported_type = {event_type:String})
    AND ({action_source:String} = '' OR reported_action_source = {action_source:String})
    AND ({value_reason:String} = '' OR value_reason = {value_reason:String})
    AND ({kind:String} != 'conversion' OR conversions != 0)
    AND ({kind:String} != 'refund' OR conversions = 0)
    AND counted
GROUP BY event_source_id
ORDER BY event_source_id
