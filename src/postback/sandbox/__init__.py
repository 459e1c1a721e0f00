"""What only a sandbox does: accounts on first use, and the official test controller."""
