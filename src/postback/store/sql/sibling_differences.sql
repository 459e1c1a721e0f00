-- Per source of an account: how many of its events of the last 24 hours a linked source logged as well with another currency or order_id; of copies the first counts. Those that came once are left aside first, so that their payloads aren't read.
SELECT source, count()
FROM
(
    SELECT arrayJoin(groupUniqArray(event_source_id)) AS source
    FROM
    (
        WITH indexOf({kinds:Array(String)}, concat(event_type, '\n', event_source_id)) AS linked
        SELECT
            {groups:Array(String)}[linked] AS sources, event_source_id, event_type, event_id,
            argMin((JSONExtractString(custom_data, 'currency'), if(has(warnings, 'JUNK_ORDER_ID'), '', JSONExtractString(custom_data, 'order_id')), custom_event_name), received_at) AS first
        FROM event
        WHERE account_id = {account_id:String} AND received_at > now64(6, 'UTC') - INTERVAL 24 HOUR AND linked > 0
            AND cityHash64(event_type, event_id) IN
            (
                SELECT cityHash64(event_type, event_id) AS hashed
                FROM receipt
                WHERE account_id = {account_id:String} AND received_at > now64(6, 'UTC') - INTERVAL 24 HOUR
                    AND has({kinds:Array(String)}, concat(event_type, '\n', event_source_id))
                GROUP BY hashed
                HAVING count() > 1
            )
        GROUP BY sources, event_source_id, event_type, event_id
    )
    GROUP BY sources, event_type, event_id, first.3
    HAVING uniqExactIf(first.1, first.1 != '') > 1 OR uniqExactIf(first.2, first.2 != '') > 1
)
GROUP BY source
