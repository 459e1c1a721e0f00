-- Events of these sources and types, with what they carry, once each.
SELECT event_source_id, event_type, event_id, custom_event_name, custom_data
FROM event FINAL
WHERE account_id = {account_id:String}
    AND (event_source_id, event_type) IN arrayZip({event_source_ids:Array(String)}, {event_types:Array(String)})
ORDER BY event_source_id, event_type, event_id
