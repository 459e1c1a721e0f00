"""What a sandbox really sent upstream, as official runners read it.

Shapes: compliance/comply-test-controller-response.json.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from postback.forwarding.sender import SentCall
from postback.ingest.decode import canonical_json
from postback.times import rfc3339

__all__ = ["recorded_call"]

_MOST_PAYLOAD = 65_536


def recorded_call(call: SentCall, mode: str, digests: Sequence[str]) -> dict[str, Any]:
    """An entry of ``recorded_calls``.

    Args:
        call: The request.
        mode: ``raw`` shows its body; ``digest`` a digest of it, and which of ``digests`` are of strings in it.
        digests: SHA-256 of identifiers, in hexadecimal.
    """
    url = urlsplit(call.url)
    told: dict[str, Any] = {
        "method": "POST",
        "endpoint": f"POST {call.url}",
        "url": call.url,
        "host": url.netloc,
        "path": url.path or "/",
        "content_type": "application/json",
        "attestation_mode": mode,
        "purpose": "attribution",
        "payload_length": len(call.body),
        "timestamp": rfc3339(call.at),
    }
    if call.status is not None:
        told["status_code"] = call.status
    if mode == "raw" and len(call.body) <= _MOST_PAYLOAD:
        return told | {"payload": json.loads(call.body)}
    told |= {"attestation_mode": "digest", "payload_digest_sha256": sha256(canonical_json(call.body)).hexdigest()}
    found = {sha256(text.encode()).hexdigest() for text in _strings(json.loads(call.body))}
    proofs = [{"identifier_value_sha256": digest, "found": digest in found} for digest in digests[:64]]
    return told | ({"identifier_match_proofs": proofs} if proofs else {})


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _strings(inner)
