-- How much was received from a source in each hour or day of a span of time, by what became of it: in the order of OUTCOMES, which are counted in columns, since that is quicker than in groups.
SELECT
    if({daily:Bool}, toStartOfDay(received_at), toStartOfHour(received_at)) AS begins_at,
    countIf(outcome = 'accepted'), countIf(outcome = 'accepted_with_warnings'), countIf(outcome = 'duplicate'),
    countIf(outcome = 'test'), countIf(outcome = 'rejected')
FROM receipt
WHERE account_id = {account_id:String}
    AND received_at >= {since:DateTime('UTC')} AND received_at < {until:DateTime('UTC')}
    AND event_source_id = {event_source_id:String}
    AND (test_event_code = '' OR received_at > now64(6, 'UTC') - INTERVAL 7 DAY)
GROUP BY begins_at
ORDER BY begins_at
