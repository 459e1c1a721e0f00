-- Events with the number of the event kind that goals name (0: none does), the sources that it is linked with, the amounts that goals may ask for and whether each is stated. Event kinds and fields are those of the run; order_id is read only where some goal names refunds, and empty where it names no order.
CREATE TEMPORARY VIEW named_event AS
WITH
    (SELECT groupArray(name) FROM (SELECT name FROM run_event_kind ORDER BY event_kind)) AS kinds,
    (SELECT groupArray(linked) FROM (SELECT linked FROM run_event_kind ORDER BY event_kind)) AS linked_sources,
    (SELECT groupArray(name) FROM (SELECT name FROM run_field ORDER BY field)) AS fields,
    (SELECT count() > 0 FROM run_near) AS refunds,
    indexOf(kinds, concat(event_type, '\n', event_source_id, '\n', custom_event_name)) AS exact
SELECT
    account_id, event_source_id, event_type, event_id, received_at, event_time, action_source, custom_event_name, match_keys,
    toUInt32(if(exact > 0, exact, indexOf(kinds, concat(event_type, '\n', event_source_id, '\n')))) AS event_kind,
    linked_sources[event_kind] AS linked,
    arrayMap(
        field -> if(
            JSONType(custom_data, field) IN ('Int64', 'UInt64', 'Double') AND abs(JSONExtractFloat(custom_data, field)) < 1e15,
            JSONExtract(custom_data, field, 'Nullable(Decimal(38, 9))'),
            NULL
        ),
        fields
    ) AS amounts,
    arrayMap(
        (field, amount) -> if(isNull(amount), JSONType(custom_data, field) != 'Null', true), fields, amounts
    ) AS stated,
    JSONExtractString(custom_data, 'currency') AS currency,
    if(refunds AND NOT has(warnings, 'JUNK_ORDER_ID'), JSONExtractString(custom_data, 'order_id'), '') AS order_id
FROM event
