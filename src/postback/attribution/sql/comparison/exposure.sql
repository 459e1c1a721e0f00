-- The stored exposures, as a comparison reads them.
CREATE VIEW exposure AS SELECT *, exposure_hash FROM $stored.exposure
