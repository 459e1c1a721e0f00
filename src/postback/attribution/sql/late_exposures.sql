-- The events that late exposures may have led to and that are not settled.
INSERT INTO run_target
SELECT DISTINCT event_source_id, event_type, event_id
FROM attribution
PREWHERE account_id = {account_id:String} AND event_hash IN
(
    SELECT event_hash
    FROM event_hash_by_key
    WHERE account_id = {account_id:String} AND match_key IN
    (
        SELECT arrayJoin(match_keys)
        FROM exposure
        WHERE account_id = {account_id:String}
            AND received_at > fromUnixTimestamp64Micro({after:Int64}, 'UTC')
            AND received_at <= fromUnixTimestamp64Micro({through:Int64}, 'UTC')
            AND (media_buy_id, package_id) IN (SELECT media_buy_id, package_id FROM run_package)
    )
)
WHERE toUnixTimestamp64Micro(event_time) >= {settled_before:Int64}
LIMIT {most:UInt64}
