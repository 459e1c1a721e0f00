-- The newest hour that was summed up; the epoch when there is none.
SELECT max(hour) FROM source_hour
