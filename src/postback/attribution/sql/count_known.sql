-- How many earlier outcomes there are, and how many of the new events may have facts beside those that are new.
SELECT
    (SELECT count() FROM run_previous_outcome),
    (
        SELECT count() - uniqExact(sipHash64(event_source_id, event_type, event_id)) + countIf(event_type = 'custom')
        FROM run_new
    )
