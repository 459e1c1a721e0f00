"""Signed requests: RFC 9421 in AdCP's request-signing profile, for API keys that have a signing key.

A stolen API key is useless without the signing key.
"""
