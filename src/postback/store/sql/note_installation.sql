-- Notes the fingerprint of the installation.
INSERT INTO installation (installation_id, secret_check, sandbox, rotation)
VALUES ({installation_id:String}, {secret_check:String}, {sandbox:Bool}, {rotation:UInt32})
