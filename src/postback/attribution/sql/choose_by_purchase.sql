-- The purchase that each refund undoes: the one with its event_id, else one with its order_id; of several a purchase before other types, then one that is attributed, the greatest value, the earliest, the least event_id. And the first goal that names the refund in that purchase's package. Refunds that look for the same link in the same sources are compared with its purchases once, so many that share an order_id are no more work than others.
INSERT INTO run_choice
WITH
    (SELECT groupArray(event_source_id) FROM (SELECT event_source_id FROM run_near ORDER BY event_source_id)) AS sources,
    (SELECT groupArray(near) FROM (SELECT near FROM run_near ORDER BY event_source_id)) AS near_sources,
    links AS
    (
        SELECT number, sibling_set, event_type, siblings, near, link.1 AS by_id, link.2 AS id
        FROM
        (
            SELECT
                number, sibling_set, event_type, siblings, arrayMap(sibling -> sibling.2, siblings) AS own,
                arraySort(arrayDistinct(arrayConcat(
                    own, arrayFlatten(arrayMap(source -> near_sources[indexOf(sources, source)], own))
                ))) AS near,
                arrayJoin(arrayConcat([(true, event_id)], arrayMap(order_id -> (false, order_id), order_ids))) AS link
            FROM run_business
            WHERE may_refund AND NOT settled AND sibling_set > 0
        )
    )
SELECT number, best.1, best.2, currency, goal_options[1], event_type, siblings
FROM
(
    SELECT
        number, any(sibling_set) AS sibling_set, any(event_type) AS event_type, any(siblings) AS siblings,
        argMin(purchase, rank) AS best
    FROM links
    INNER JOIN
    (
        SELECT
            near, by_id, id,
            min(tuple(
                NOT by_id, event_type != 'purchase', package_id = '', -value, happened_at, event_id, purchase_sources
            )) AS rank,
            argMin(
                (number, rule_set),
                tuple(
                    NOT by_id, event_type != 'purchase', package_id = '', -value, happened_at, event_id, purchase_sources
                )
            ) AS purchase
        FROM
        (
            SELECT
                number, event_type, event_id, purchase_sources, package_id, rule_set, value, happened_at, link.1 AS by_id,
                link.2 AS id
            FROM
            (
                SELECT
                    number, event_type, event_id, arrayMap(sibling -> sibling.2, siblings) AS purchase_sources, package_id,
                    rule_set, value,
                    if(package_id = '', arrayMin(arrayMap(sibling -> sibling.3, siblings)), reported_at) AS happened_at,
                    arrayJoin(arrayConcat([(true, event_id)], arrayMap(order_id -> (false, order_id), order_ids))) AS link
                FROM run_business
                LEFT JOIN run_result USING (number)
                WHERE NOT may_refund
            )
        ) AS bought
        INNER JOIN (SELECT DISTINCT near, by_id, id FROM links) AS asked USING (by_id, id)
        WHERE hasAny(near, purchase_sources)
        GROUP BY near, by_id, id
    ) AS found USING (near, by_id, id)
    GROUP BY number
) AS chosen
LEFT JOIN run_rule AS rule ON rule.sibling_set = chosen.sibling_set AND rule.rule_set = chosen.best.2
