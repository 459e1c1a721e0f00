-- The facts of events that have to be attributed again, without those whose outcome is final.
INSERT INTO run_event
SELECT
    4294967296 + rowNumberInAllBlocks(), event_source_id, event_type, event_id, received_at, event_time, action_source,
    match_keys, kind, amounts, currency
FROM
(
    SELECT *
    FROM named_event
    WHERE account_id = {account_id:String}
        AND (event_source_id, event_type, event_id) IN (SELECT event_source_id, event_type, event_id FROM run_target)
        AND (event_source_id, event_type, event_id) NOT IN (SELECT event_source_id, event_type, event_id FROM run_event)
        AND (event_source_id, event_type, event_id) NOT IN
        (
            SELECT event_source_id, event_type, event_id
            FROM run_prior
            WHERE (media_buy_id, package_id) IN (SELECT media_buy_id, package_id FROM run_frozen)
        )
        AND kind > 0
    ORDER BY received_at
    LIMIT 1 BY event_source_id, event_type, event_id
)
