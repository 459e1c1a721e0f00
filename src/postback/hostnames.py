"""Host names in the one form in which they are compared."""

from __future__ import annotations

from postback.protocol.domains import MAX_DOMAIN_LENGTH, is_domain

__all__ = ["normal_hostname"]


def normal_hostname(text: str) -> str | None:
    """The host name in lower case, IDNA-encoded, without a final dot; None when ``text`` is no host name."""
    if len(text) > MAX_DOMAIN_LENGTH + 1:
        return None
    try:
        host = text.lower().removesuffix(".").encode("idna").decode()
    except UnicodeError:
        return None
    return host if is_domain(host) else None
