"""The requests that a sandbox sent upstream, in the form that official runners read.

Form and rules: compliance/comply-test-controller-response.json (UpstreamTrafficSuccess).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC
from decimal import Decimal
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from postback.forwarding.sent_requests import SentCall

__all__ = ["canonical", "fits", "recorded_call", "redacted"]

_MAX_PAYLOAD = 65_536
_MAX_DIGESTS = 64
_REDACTED = "[redacted]"
_SECRET = re.compile(
    r"authorization|credentials?|token|api[_-]?key|password|secret|client[_-]secret|refresh[_-]token|access[_-]token"
    r"|bearer|session[_-]token|offering[_-]token|cookie|set[_-]cookie",
    re.IGNORECASE,
)


def fits(call: SentCall, pattern: str) -> bool:
    """Whether a request's ``POST <url>`` matches an ``endpoint_pattern``, in which only ``*`` is a wildcard."""
    return fnmatchcase(f"POST {_shown(call.url)}", re.sub(r"[?\[]", r"[\g<0>]", pattern))


def recorded_call(call: SentCall, mode: str, digests: Sequence[str]) -> dict[str, Any]:
    """An entry of ``recorded_calls``.

    Args:
        call: The request.
        mode: ``raw`` shows its body; ``digest`` its digest, and which of ``digests`` are digests of strings in it.
        digests: SHA-256 digests of identifiers, in hexadecimal.
    """
    shown = _shown(call.url)
    url = urlsplit(shown)
    payload = redacted(msgspec.json.decode(call.body))
    body = canonical(payload).encode()
    entry: dict[str, Any] = {
        "method": "POST",
        "endpoint": f"POST {shown}",
        "url": shown,
        "host": url.netloc,
        "path": url.path or "/",
        "content_type": "application/json",
        "attestation_mode": mode,
        "purpose": "attribution",
        "payload_length": len(body),
        "timestamp": call.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "status_code": call.status,
    }
    if mode == "raw" and len(body) <= _MAX_PAYLOAD:
        return entry | {"payload": payload}
    entry |= {"attestation_mode": "digest", "payload_digest_sha256": sha256(body).hexdigest()}
    found = {sha256(text.encode()).hexdigest() for text in _strings(payload)}
    proofs = [{"identifier_value_sha256": digest, "found": digest in found} for digest in digests[:_MAX_DIGESTS]]
    return entry | ({"identifier_match_proofs": proofs} if proofs else {})


def redacted(value: Any) -> Any:
    """JSON without the values of fields that are named like secrets."""
    if isinstance(value, dict):
        return {name: _REDACTED if _SECRET.fullmatch(name) else redacted(inner) for name, inner in value.items()}
    return [redacted(inner) for inner in value] if isinstance(value, list) else value


def canonical(value: Any) -> str:
    """JSON in its canonical form (RFC 8785)."""
    if isinstance(value, dict):
        members = sorted(value.items(), key=lambda member: member[0].encode("utf-16-be"))
        return "{" + ",".join(f"{canonical(name)}:{canonical(inner)}" for name, inner in members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _number(float(value))
    return json.dumps(value, ensure_ascii=False)


def _number(value: float) -> str:
    """A number as ECMAScript writes it: Python's digits, with an exponent from 1e21 and below 1e-6 only."""
    if value == 0:
        return "0"
    if 1e-6 <= abs(value) < 1e21:
        return f"{Decimal(repr(value)):f}".removesuffix(".0")
    return re.sub(r"e([+-])0", r"e\1", repr(value))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _strings(inner)


def _shown(url: str) -> str:
    """A URL without the values of its query, which may be secrets."""
    parts = urlsplit(url)
    names = [(name, _REDACTED) for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    return parts._replace(query=urlencode(names)).geturl()
