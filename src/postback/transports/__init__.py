"""Transports: bytes in, bytes out. What a call means is decided behind ``tasks.dispatch.run``."""
