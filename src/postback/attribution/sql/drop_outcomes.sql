-- Drops all outcomes but those of packages whose numbers are final and of settled events, with those of the same type and id; what came too late for one is derived again.
ALTER TABLE attribution
DELETE WHERE toUnixTimestamp64Micro(event_time) >= {settled_before:Int64} AND
(
    value_reason IN ('FINAL', 'SETTLED')
    OR
    (
        (account_id, media_buy_id, package_id)
            NOT IN arrayZip({account_ids:Array(String)}, {media_buy_ids:Array(String)}, {package_ids:Array(String)})
        AND (account_id, event_hash) NOT IN
        (
            SELECT account_id, event_hash
            FROM attribution
            GROUP BY account_id, event_hash
            HAVING toUnixTimestamp64Micro(min(event_time)) < {settled_before:Int64}
                AND toUnixTimestamp64Micro(max(event_time)) >= {settled_before:Int64}
            SETTINGS optimize_aggregation_in_order = 1
        )
    )
)
SETTINGS mutations_sync = 2
