"""Error codes by release.

``reason`` is the stable code, that of unversioned requests; ``code`` is what the release that the request pins calls
it.
"""

from __future__ import annotations

from postback.protocol.releases import MAJOR_ONLY, Release

__all__ = ["code_for"]

_ALWAYS = {"UNSUPPORTED_FIELD": "UNSUPPORTED_FEATURE", "INVALID_PERIOD": "INVALID_REQUEST"}
_FROM_3_0 = _ALWAYS | {
    "EVENT_SOURCE_NOT_FOUND": "REFERENCE_NOT_FOUND",
    "RATE_LIMIT_EXCEEDED": "RATE_LIMITED",
    "REQUEST_TOO_LARGE": "INVALID_REQUEST",
    "INTERNAL_ERROR": "SERVICE_UNAVAILABLE",
}
_3_0_AND_3_1 = _FROM_3_0 | {
    "ACCOUNT_REQUIRED": "INVALID_REQUEST",
    "INVALID_PRICING_OPTION": "INVALID_REQUEST",
}
_3_0 = _3_0_AND_3_1 | {"UNSUPPORTED_GRANULARITY": "UNSUPPORTED_FEATURE"}
_3_2 = _FROM_3_0 | {
    "INVALID_EVENT_TYPE": "VALIDATION_ERROR",
    "INVALID_EVENT_TIME": "VALIDATION_ERROR",
    "MISSING_USER_MATCH": "VALIDATION_ERROR",
    "INVALID_PERIOD": "VALIDATION_ERROR",
    "BATCH_TOO_LARGE": "INVALID_REQUEST",
}
_MAJOR_ONLY = _3_2 | {name: code for name, code in _3_0.items() if name not in _FROM_3_0}
"""3.2's codes, and 3.0's for those that 3.0 doesn't have."""

_CODES: dict[Release | None, dict[str, str]] = {
    None: _ALWAYS,
    "3.0": _3_0,
    "3.1": _3_0_AND_3_1,
    "3.2": _3_2,
    MAJOR_ONLY: _MAJOR_ONLY,
}


def code_for(reason: str, release: Release | None) -> str:
    """The code that ``release`` (None: an unversioned request) uses for ``reason``."""
    return _CODES[release].get(reason, reason)
