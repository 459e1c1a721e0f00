-- Events of these sources and types, with what they carry: of copies the first.
SELECT event_source_id, event_type, event_id, custom_event_name, custom_data
FROM
(
    SELECT event_source_id, event_type, event_id, custom_event_name, custom_data
    FROM event
    WHERE account_id = {account_id:String}
        AND (event_source_id, event_type) IN arrayZip({event_source_ids:Array(String)}, {event_types:Array(String)})
    ORDER BY received_at
    LIMIT 1 BY event_source_id, event_type, event_id
)
ORDER BY event_source_id, event_type, event_id
