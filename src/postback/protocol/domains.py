"""Domains of brands and operators, as AdCP writes them (core/brand-ref.json): lower case, IDNs as ``xn--…``."""

from __future__ import annotations

import re
from typing import TypeGuard

__all__ = ["DOMAIN", "MAX_DOMAIN_LENGTH", "is_domain"]

DOMAIN = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*"
"""The pattern without anchors: schemas end it with ``$``, our regular expressions with ``\\Z``."""

MAX_DOMAIN_LENGTH = 253
"""The longest name that the DNS allows."""

_DOMAIN = re.compile(DOMAIN)


def is_domain(value: object) -> TypeGuard[str]:
    """Whether this is a domain."""
    return isinstance(value, str) and len(value) <= MAX_DOMAIN_LENGTH and _DOMAIN.fullmatch(value) is not None
