"""Advertiser accounts: storage, references to them, provisioning by buyers, and what each status permits."""
