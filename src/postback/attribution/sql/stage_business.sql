-- The business events: of linked sources the siblings together, everything else alone.
INSERT INTO run_business
WITH
    staged AS
    (
        SELECT
            *,
            (event_kind, event_source_id, event_time, received_at, action_source, amounts, stated, currency) AS sibling,
            (event_source_id, event_type, event_id) IN
            (
                SELECT event_source_id, event_type, event_id
                FROM run_previous_outcome
                WHERE (media_buy_id, package_id) IN (SELECT media_buy_id, package_id FROM run_frozen)
                    AND value_reason != 'FINAL'
            ) AS final,
            final OR toUnixTimestamp64Micro(event_time) < {settled_before:Int64} AS settled
        FROM run_event
    ),
    (SELECT groupArray(kinds) FROM (SELECT kinds FROM run_sibling_set ORDER BY sibling_set)) AS sets,
    (SELECT groupArray(may_refund) FROM (SELECT may_refund FROM run_sibling_set ORDER BY sibling_set)) AS refunds
SELECT
    1 + rowNumberInAllBlocks(), event_type, event_id,
    toUInt32(indexOf(sets, arrayMap(sibling -> sibling.1, siblings))) AS own_set,
    event_type = 'refund' OR refunds[own_set], settled, final, siblings, match_keys, order_ids
FROM
(
    SELECT
        event_type, event_id, settled, final, [sibling] AS siblings, match_keys,
        if(order_id = '', [], [order_id]) AS order_ids
    FROM staged
    WHERE linked = ''
    UNION ALL
    SELECT
        event_type, event_id, max(settled), max(final), arraySort(sibling -> sibling.1, groupArray(sibling)),
        arrayDistinct(arrayFlatten(groupArray(match_keys))), arrayDistinct(groupArrayIf(order_id, order_id != ''))
    FROM staged
    WHERE linked != ''
    GROUP BY event_type, event_id, linked, if(event_type = 'custom', custom_event_name, '')
)
