-- The fingerprint of the installation that these events belong to; no row before there is one.
SELECT installation_id, secret_check, sandbox, rotation FROM installation ORDER BY rotation DESC LIMIT 1
