-- Drops all outcomes but those of packages whose numbers are final; what came too late for one is derived again.
ALTER TABLE attribution
DELETE WHERE value_reason = 'FINAL' OR (account_id, media_buy_id, package_id)
    NOT IN arrayZip({account_ids:Array(String)}, {media_buy_ids:Array(String)}, {package_ids:Array(String)})
SETTINGS mutations_sync = 2
