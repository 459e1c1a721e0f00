"""Signing in: the page for it, and the way back to the page that was asked for."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

__all__ = ["SIGN_IN", "SignIn", "safe_return"]

SIGN_IN = "/console/sign-in"


class SignIn(msgspec.Struct, frozen=True):
    """What the page for signing in shows.

    Attributes:
        back: The address to go to afterwards; empty for the first page.
        error: Why the last try failed, or None.
    """

    back: str
    error: str | None = None


def safe_return(address: str) -> str:
    """The address to go to after signing in, if it is one of the console; else empty."""
    if not address.isascii() or not address.isprintable() or "\\" in address:
        return ""
    parts = urlsplit(address)
    if parts.scheme or parts.netloc or not parts.path.startswith("/console/"):
        return ""
    return "" if parts.path.startswith(SIGN_IN) else address
