"""The checklist of AdCP's request-signing profile: what a signature must say, before anything is computed.

Each step refuses with the code that AdCP has for it (enums/request-signing-error-code.json), in the order of its page
"Security", "Signed requests".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import http_sf
from starlette.datastructures import Headers

from postback.errors import SignatureRefused
from postback.signatures.keys import MAX_KID, SigningKey

__all__ = ["SKEW", "WINDOW", "Declared", "check", "is_signed", "malformed", "read_declared", "refused"]

WINDOW = 300
SKEW = 60
"""Seconds that a signature may be valid, and that clocks may differ."""

_TAG = "adcp/request-signing/v1"
_ALGORITHMS = ("ed25519", "ecdsa-p256-sha256")
_COMPONENTS = ("@method", "@target-uri", "@authority")
_PARAMETERS: dict[str, type] = {"created": int, "expires": int, "nonce": str, "keyid": str, "alg": str, "tag": str}
_MAX_NONCE = 256
_LABEL = "sig1"
_SINGLE_LINES = ("host", "content-type", "content-digest", "signature", "signature-input")
_BASE64URL = re.compile(r":[A-Za-z0-9_-]*:")
_TO_BASE64 = str.maketrans("-_", "+/")


@dataclass(frozen=True, slots=True)
class Declared:
    """A signature, as the headers of a request declare it.

    Attributes:
        label: Names it among those that the request may have.
        covered: The components that it covers, as structured items.
        parameters: Its parameters.
        value: The signature itself.
        content_digest: The header of that name, in base64; None without one.
        key: The key that it names; None when the caller has no such key.
    """

    label: str
    covered: list[tuple[Any, dict[str, Any]]]
    parameters: dict[str, Any]
    value: bytes
    content_digest: str | None
    key: SigningKey | None


def is_signed(headers: Headers) -> bool:
    """Whether a request has a signature, or half of one."""
    return "signature" in headers or "signature-input" in headers


def read_declared(headers: Headers, keys: Mapping[str, SigningKey]) -> Declared:
    """Read the one signature of a request that counts: ``sig1``, or else the first.

    Args:
        headers: The request's.
        keys: The caller's signing keys, by kid.

    Raises:
        SignatureRefused: The headers can be read in no way, or in several.
    """
    for name in _SINGLE_LINES:
        if len(headers.getlist(name)) > 1 or (name == "content-type" and "," in headers.get(name, "")):
            raise malformed(f"{name} must have one value.")
    inputs = _dictionary("signature-input", headers.get("signature-input"))
    label = _LABEL if _LABEL in inputs else next(iter(inputs))
    covered, parameters = inputs[label]
    if not isinstance(covered, list) or not all(type(name) is str for name, _ in covered):
        raise malformed("signature-input must list components.")
    keyid = parameters.get("keyid")
    key = keys.get(keyid) if isinstance(keyid, str) else None
    signature, digest = headers.get("signature"), headers.get("content-digest")
    if key and key.base64url:
        signature, digest = _in_base64(signature), _in_base64(digest)
    value, _ = _dictionary("signature", signature).get(label, (None, {}))
    if not isinstance(value, bytes):
        raise malformed("signature must have the bytes that signature-input describes.")
    if digest is not None:
        _dictionary("content-digest", digest)
    return Declared(label, covered, parameters, value, digest, key)


def check(declared: Declared, headers: Headers, *, body: bool, now: float, since: float) -> SigningKey:
    """See that a signature says what the profile asks for.

    Args:
        declared: The signature.
        headers: The request's.
        body: Whether the request has a body.
        now: The time, in seconds since the epoch.
        since: When the server began to remember nonces.

    Returns:
        The key to verify it with.

    Raises:
        SignatureRefused: It doesn't.
    """
    said = declared.parameters
    if missing := [name for name in _PARAMETERS if name not in said]:
        raise refused("request_signature_params_incomplete", f"The signature needs {', '.join(missing)}.")
    if wrong := [name for name, kind in _PARAMETERS.items() if type(said[name]) is not kind]:
        raise malformed(f"The signature's {wrong[0]} must be of another type.")
    if not (0 < len(said["nonce"]) <= _MAX_NONCE and len(said["keyid"]) <= MAX_KID):
        raise malformed(f"The signature's nonce and keyid must have 1 to {_MAX_NONCE} characters.")
    if said["tag"] != _TAG:
        raise refused("request_signature_tag_invalid", f"The signature's tag must be {_TAG}.")
    if said["alg"] not in _ALGORITHMS:
        raise refused("request_signature_alg_not_allowed", f"The signature's alg must be {' or '.join(_ALGORITHMS)}.")
    _check_window(said["created"], said["expires"], now, since)
    _check_components({name for name, how in declared.covered if not how}, headers, body=body)
    if declared.key is None:
        raise refused("request_signature_key_unknown", "The keyid is no signing key of this API key.")
    if declared.key.algorithm.algorithm_id != said["alg"]:
        raise refused("request_signature_key_purpose_invalid", "The keyid is a key for another alg.")
    return declared.key


def refused(code: str, why: str) -> SignatureRefused:
    """The refusal with one of AdCP's codes."""
    return SignatureRefused(why, details={"signature_error": code})


def malformed(why: str) -> SignatureRefused:
    """The refusal of headers that can't be read in one way."""
    return refused("request_signature_header_malformed", why)


def _check_window(created: int, expires: int, now: float, since: float) -> None:
    if not created < expires <= created + WINDOW:
        raise _outside(f"expires must be 1 to {WINDOW} seconds after created.")
    if not created - SKEW <= now <= expires + SKEW:
        raise _outside("The signature isn't valid yet, or no longer.")
    if created < since:
        raise _outside("The signature is older than the server's memory of nonces.")


def _check_components(covered: set[str], headers: Headers, *, body: bool) -> None:
    wanted = [*_COMPONENTS]
    if "content-type" in headers:
        wanted.append("content-type")
    if body:
        wanted.append("content-digest")
    if missing := [name for name in wanted if name not in covered]:
        raise refused("request_signature_components_incomplete", f"The signature must cover {', '.join(missing)}.")


def _dictionary(name: str, value: str | None) -> dict[str, tuple[Any, dict[str, Any]]]:
    """A header that is a dictionary (RFC 8941), no member twice, not empty."""
    try:
        parsed = http_sf.parse((value or "").encode(), tltype="dictionary", on_duplicate_key=_refuse_duplicate)
    except ValueError as error:
        raise malformed(f"{name} must be a dictionary (RFC 8941).") from error
    if not parsed:
        raise malformed(f"{name} is missing.")
    return cast("dict[str, tuple[Any, dict[str, Any]]]", parsed)


def _refuse_duplicate(_name: str, _where: str) -> None:
    raise ValueError("given twice")


def _in_base64(value: str | None) -> str | None:
    return value and _BASE64URL.sub(lambda binary: binary[0].translate(_TO_BASE64), value)


def _outside(why: str) -> SignatureRefused:
    return refused("request_signature_window_invalid", why)
