-- How much was received from a source in each hour or day of a span of whole hours, by what became of it: in the order of OUTCOMES.
SELECT
    if({daily:Bool}, toStartOfDay(hour), hour) AS begins_at,
    sumIf(events, outcome = 'accepted'), sumIf(events, outcome = 'accepted_with_warnings'),
    sumIf(events, outcome = 'duplicate'), sumIf(events, outcome = 'test'), sumIf(events, outcome = 'rejected')
FROM receipt_hour
WHERE account_id = {account_id:String} AND event_source_id = {event_source_id:String}
    AND hour >= {since:DateTime('UTC')} AND hour < {until:DateTime('UTC')}
    AND (NOT is_test OR hour > now('UTC') - INTERVAL 7 DAY)
GROUP BY begins_at
ORDER BY begins_at
