"""Forwarding: accepted events go on to systems of the seller, at least once."""
