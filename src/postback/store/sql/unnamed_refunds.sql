-- Per source: how many refunds of the last 7 days came from sources whose refunds no goal names.
SELECT event_source_id, uniqExact(event_id)
FROM event
WHERE account_id = {account_id:String} AND event_source_id IN {event_source_ids:Array(String)} AND event_type = 'refund'
    AND received_at > now64(6, 'UTC') - INTERVAL 7 DAY
GROUP BY event_source_id
