-- What packages achieved, by day or hour of the event, its type and action source, and creative; what cancels out is left out.
SELECT
    account_id, media_buy_id, package_id, if({hourly:Bool}, hour, toStartOfDay(hour)) AS moment,
    event_type, action_source, creative_id, sum(conversions) AS achieved, sum(value) AS worth
FROM conversion_hour
WHERE (account_id, media_buy_id) IN arrayZip({account_ids:Array(String)}, {media_buy_ids:Array(String)})
    AND hour >= {start:DateTime('UTC')} AND hour < {end:DateTime('UTC')}
GROUP BY account_id, media_buy_id, package_id, moment, event_type, action_source, creative_id
HAVING achieved != 0 OR worth != JSONExtract('0', 'Decimal(38, 9)')
