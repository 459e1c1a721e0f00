-- Per source of an account: how many order_ids of one event type the events of the last 24 hours bring under several event_ids, from it and the sources that goals name together with it; refunds aside. Told apart by the hashes that were made on receipt, so that no payload is read; most came once, and are left aside first.
SELECT source, count()
FROM
(
    WITH indexOf({kinds:Array(String)}, concat(event_type, '\n', event_source_id)) AS linked
    SELECT arrayJoin(groupUniqArray(event_source_id)) AS source
    FROM receipt
    WHERE account_id = {account_id:String} AND received_at > now64(6, 'UTC') - INTERVAL 24 HOUR
        AND event_type != 'refund' AND order_hash != 0 AND test_event_code = '' AND NOT has(warnings, 'JUNK_ORDER_ID')
        AND order_hash IN
        (
            SELECT order_hash
            FROM receipt
            WHERE account_id = {account_id:String} AND received_at > now64(6, 'UTC') - INTERVAL 24 HOUR AND order_hash != 0
            GROUP BY order_hash
            HAVING count() > 1
        )
    GROUP BY if(linked > 0, {groups:Array(String)}[linked], event_source_id), event_type, order_hash
    HAVING min(event_id) != max(event_id)
)
GROUP BY source
