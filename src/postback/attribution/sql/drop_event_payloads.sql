-- Begins to drop identifiers and payload of events that happened and arrived before a time. What finds copies and purchases stays: value, currency and order_id.
ALTER TABLE event
UPDATE
    match_keys = [], event_source_url = '', extra = '', dropped = true,
    custom_data = if(
        custom_data = '',
        '',
        concat(
            '{',
            arrayStringConcat(
                arrayMap(
                    name -> concat('"', name, '":', JSONExtractRaw(custom_data, name)),
                    arrayFilter(
                        name -> JSONHas(custom_data, name)
                            AND NOT (name = 'value' AND abs(JSONExtractFloat(custom_data, name)) >= 1e15),
                        ['value', 'currency', 'order_id']
                    )
                ),
                ','
            ),
            '}'
        )
    )
WHERE NOT dropped AND greatest(event_time, received_at) < fromUnixTimestamp64Micro({dropped_before:Int64}, 'UTC')
SETTINGS mutations_sync = 0
