-- How much was received from a source in each hour or day of a span of time, by what became of it.
SELECT if({daily:Bool}, toStartOfDay(received_at), toStartOfHour(received_at)) AS begins_at, outcome, count()
FROM receipt
WHERE account_id = {account_id:String}
    AND received_at >= {since:DateTime('UTC')} AND received_at < {until:DateTime('UTC')}
    AND event_source_id = {event_source_id:String}
    AND (test_event_code = '' OR received_at > now64(6, 'UTC') - INTERVAL 7 DAY)
GROUP BY begins_at, outcome
ORDER BY begins_at, outcome
