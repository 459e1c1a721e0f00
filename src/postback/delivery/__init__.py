"""Delivery reports: what media buys delivered, and the conversions that followed."""
