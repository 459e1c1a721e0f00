"""Host names in the one form in which they are compared."""

from __future__ import annotations

from urllib.parse import unquote

import idna

from postback.protocol.domains import MAX_DOMAIN_LENGTH, is_domain

__all__ = ["is_within", "normal_hostname", "url_hostname"]

_MAX_LABEL_LENGTH = 63


def normal_hostname(text: str) -> str | None:
    """The host name in lower case, without a final dot, other letters as ``xn--…`` (UTS 46, nontransitional).

    None when ``text`` is not a host name. Hosts that are ASCII already are only lower-cased, as browsers do: names in
    use, for example r3---sn-4g5.example, break IDNA's rules for hyphens.
    """
    if len(text) > MAX_DOMAIN_LENGTH + 1:
        return None
    try:
        host = text.lower() if text.isascii() else idna.encode(text, uts46=True).decode()
    except idna.IDNAError:
        return None
    host = host.removesuffix(".")
    return host if is_domain(host) and max(map(len, host.split("."))) <= _MAX_LABEL_LENGTH else None


def is_within(host: str, domains: tuple[str, ...]) -> bool:
    """Whether a host is one of these domains, which are normal and have a leading dot, or below one."""
    return f".{host}".endswith(domains)


def url_hostname(host: str) -> str:
    """The host of a URL in the same form, also where it is percent-encoded.

    What is not a host name, for example an IP address, is only lower-cased.
    """
    plain = unquote(host) if "%" in host else host
    return normal_hostname(plain) or host.lower().rstrip(".")
