-- The stored events, as a comparison reads them.
CREATE VIEW event AS SELECT * FROM $stored.event
