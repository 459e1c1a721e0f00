-- What a media buy achieved under these values, by the source of the event that counts, from the sums that reports read: conversions and their value less refunds, and the refunds.
SELECT event_source_id, sum(conversions), sum(value), sum(refunds), sum(refunded)
FROM conversion_hour
WHERE account_id = {account_id:String} AND media_buy_id = {media_buy_id:String}
    AND hour >= {start:DateTime('UTC')} AND hour < {end:DateTime('UTC')}
    AND ({package_id:String} = '' OR package_id = {package_id:String})
    AND ({creative_id:String} = '' OR creative_id = {creative_id:String})
    AND ({event_source_id:String} = '' OR event_source_id = {event_source_id:String})
    AND ({event_type:String} = '' OR event_type = {event_type:String})
    AND ({action_source:String} = '' OR action_source = {action_source:String})
    AND ({value_reason:String} = '' OR value_reason = {value_reason:String})
GROUP BY event_source_id
HAVING sum(conversions) != 0 OR sum(value) != JSONExtract('0', 'Decimal(38, 9)') OR sum(refunds) != 0
ORDER BY event_source_id
