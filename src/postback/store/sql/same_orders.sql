-- Per source of an account: how many order_ids of one event type the events of the last 24 hours bring under several event_ids, from it and the sources that goals name together with it; refunds aside.
SELECT source, count()
FROM
(
    WITH indexOf({kinds:Array(String)}, concat(event_type, '\n', event_source_id)) AS linked
    SELECT arrayJoin(groupUniqArray(event_source_id)) AS source
    FROM event
    WHERE account_id = {account_id:String} AND received_at > now64(6, 'UTC') - INTERVAL 24 HOUR
        AND event_type != 'refund' AND NOT has(warnings, 'JUNK_ORDER_ID')
    GROUP BY
        if(linked > 0, {groups:Array(String)}[linked], event_source_id), event_type,
        JSONExtractString(custom_data, 'order_id') AS order_id
    HAVING order_id != '' AND uniqExact(event_id) > 1
)
GROUP BY source
