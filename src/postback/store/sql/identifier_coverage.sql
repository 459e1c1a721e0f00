-- Of the live events that were received from a source since an hour, repeats aside that say the same: how many have which kinds of usable identifiers, a byte for each, and came after how long, in µs.
SELECT kinds, delay, sum(events)
FROM receipt_hour
WHERE account_id = {account_id:String} AND event_source_id = {event_source_id:String}
    AND hour >= {since:DateTime('UTC')} AND identified
GROUP BY kinds, delay
