-- The exposure_ids that stand for several kinds, media buys or packages: what each copy has, the first one first.
SELECT account_id, exposure_id, arraySort(groupArray((received_at, kind, media_buy_id, package_id))) AS copies
FROM exposure
WHERE (account_id, exposure_hash) IN
(
    SELECT account_id, exposure_hash
    FROM exposure
    GROUP BY account_id, exposure_hash
    HAVING count() > 1
    SETTINGS optimize_aggregation_in_order = 1
)
GROUP BY account_id, exposure_id
HAVING uniqExact(kind, media_buy_id, package_id) > 1
ORDER BY account_id, exposure_id
