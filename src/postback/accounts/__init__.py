"""Accounts of advertisers: kept, named by references, set up by buyers, and gated by their status."""
