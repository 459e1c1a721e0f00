-- Copies the outcomes that a rebuild keeps: those of packages whose numbers are final and of settled events, with those of the same type and id.
INSERT INTO attribution
SELECT *
FROM $stored.attribution FINAL
WHERE account_id = {account_id:String} AND
(
    toUnixTimestamp64Micro(event_time) < {settled_before:Int64}
    OR
    (
        value_reason NOT IN ('FINAL', 'SETTLED') AND
        (
            (media_buy_id, package_id) IN arrayZip({media_buy_ids:Array(String)}, {package_ids:Array(String)})
            OR event_hash IN
            (
                SELECT event_hash
                FROM $stored.attribution
                WHERE account_id = {account_id:String}
                GROUP BY event_hash
                HAVING toUnixTimestamp64Micro(min(event_time)) < {settled_before:Int64}
                    AND toUnixTimestamp64Micro(max(event_time)) >= {settled_before:Int64}
            )
        )
    )
)
