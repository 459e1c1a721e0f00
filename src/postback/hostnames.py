"""Host names in the one form in which they are compared."""

from __future__ import annotations

import re

__all__ = ["normal_hostname"]

_LABELS = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_MAX_LENGTH = 253


def normal_hostname(text: str) -> str | None:
    """The host name in lower case, IDNA-encoded, without a final dot; None when ``text`` is no host name."""
    if len(text) > _MAX_LENGTH + 1:
        return None
    try:
        host = text.lower().removesuffix(".").encode("idna").decode()
    except UnicodeError:
        return None
    return host if len(host) <= _MAX_LENGTH and _LABELS.fullmatch(host) else None
