-- How far retention has come, as a comparison reads it.
CREATE VIEW retention AS SELECT * FROM $stored.retention
