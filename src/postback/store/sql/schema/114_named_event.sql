-- Events with the number of the kind by which goals name them (0: none does) and the amounts that goals may ask for. Kinds and fields are the run's.
CREATE VIEW IF NOT EXISTS named_event AS
WITH
    (SELECT groupArray(name) FROM (SELECT name FROM run_kind ORDER BY kind)) AS kinds,
    (SELECT groupArray(name) FROM (SELECT name FROM run_field ORDER BY field)) AS fields,
    indexOf(kinds, concat(event_type, '\n', event_source_id, '\n', custom_event_name)) AS exact
SELECT
    account_id, event_source_id, event_type, event_id, received_at, event_time, action_source, match_keys,
    if(exact > 0, exact, indexOf(kinds, concat(event_type, '\n', event_source_id, '\n'))) AS kind,
    arrayMap(
        field -> if(
            JSONType(custom_data, field) IN ('Int64', 'UInt64', 'Double') AND abs(JSONExtractFloat(custom_data, field)) < 1e15,
            JSONExtract(custom_data, field, 'Nullable(Decimal(38, 9))'),
            NULL
        ),
        fields
    ) AS amounts,
    JSONExtractString(custom_data, 'currency') AS currency
FROM event
