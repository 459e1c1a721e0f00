"""Signed requests: RFC 9421 in AdCP's request-signing profile, for the API keys that have a signing key.

A stolen API key is of no use without the signing key.
"""
