-- The events that exposures of packages, whose goals are new or have changed, may have led to.
INSERT INTO run_target
SELECT DISTINCT event_source_id, event_type, event_id
FROM event_by_key
WHERE account_id = {account_id:String} AND match_key IN
(
    SELECT match_key
    FROM exposure_by_key
    WHERE account_id = {account_id:String}
        AND (media_buy_id, package_id) IN arrayZip({media_buy_ids:Array(String)}, {package_ids:Array(String)})
)
LIMIT {most:UInt64}
