"""Delivery: what media buys delivered, and what it achieved."""
