"""The checklist of AdCP's request-signing profile: what a signature must declare, before any cryptography.

Each step has its own AdCP error code (enums/request-signing-error-code.json). The order is that of "Signed requests" on
AdCP's page "Security".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import http_sf
from starlette.datastructures import Headers

from postback.auth.signatures.keys import MAX_KID, SigningKey
from postback.errors import SignatureRefused

__all__ = ["SKEW", "WINDOW", "DeclaredSignature", "check", "is_signed", "malformed", "read_declared", "signature_error"]

WINDOW = 300
SKEW = 60
"""How long a signature may be valid, and how far clocks may differ, in seconds."""

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
class DeclaredSignature:
    """A signature as a request's headers declare it.

    Attributes:
        label: Its label among the request's signatures.
        covered: The components that it covers, as structured items.
        parameters: Its parameters.
        value: The signature itself.
        content_digest: The content-digest header, in base64; None without one.
        key: The key that it names; None if the caller has no such key.
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


def read_declared(headers: Headers, keys: Mapping[str, SigningKey]) -> DeclaredSignature:
    """Parse the one signature of a request that counts: ``sig1``, or else the first.

    Args:
        headers: The request's headers.
        keys: The caller's signing keys, by kid.

    Raises:
        SignatureRefused: The headers are malformed or ambiguous.
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
        raise malformed("signature must contain bytes under the label that signature-input uses.")
    if digest is not None:
        _dictionary("content-digest", digest)
    return DeclaredSignature(label, covered, parameters, value, digest, key)


def check(declared: DeclaredSignature, headers: Headers, *, body: bool, now: float, since: float) -> SigningKey:
    """Check a signature's declaration against the profile.

    Args:
        declared: The signature.
        headers: The request's headers.
        body: Whether the request has a body.
        now: The time in seconds since the epoch.
        since: The server remembers no nonces of signatures from before then, in seconds since the epoch.

    Returns:
        The key to verify the signature with.

    Raises:
        SignatureRefused: The declaration violates the profile.
    """
    parameters = declared.parameters
    if missing := [name for name in _PARAMETERS if name not in parameters]:
        raise signature_error(
            "request_signature_params_incomplete", f"The signature lacks the parameters {', '.join(missing)}."
        )
    if wrong := [name for name, kind in _PARAMETERS.items() if type(parameters[name]) is not kind]:
        kind = "an integer" if _PARAMETERS[wrong[0]] is int else "a string"
        raise malformed(f"The signature's {wrong[0]} must be {kind}.")
    if not (0 < len(parameters["nonce"]) <= _MAX_NONCE and len(parameters["keyid"]) <= MAX_KID):
        raise malformed(f"The signature's nonce and keyid must have 1 to {_MAX_NONCE} characters.")
    if parameters["tag"] != _TAG:
        raise signature_error("request_signature_tag_invalid", f"The signature's tag must be {_TAG}.")
    if parameters["alg"] not in _ALGORITHMS:
        raise signature_error(
            "request_signature_alg_not_allowed", f"The signature's alg must be {' or '.join(_ALGORITHMS)}."
        )
    _check_window(parameters["created"], parameters["expires"], now, since)
    _check_components({name for name, how in declared.covered if not how}, headers, body=body)
    if declared.key is None:
        raise signature_error("request_signature_key_unknown", "The keyid is not a signing key of this API key.")
    if declared.key.algorithm.algorithm_id != parameters["alg"]:
        raise signature_error("request_signature_key_purpose_invalid", "The keyid's key is for a different alg.")
    return declared.key


def signature_error(code: str, message: str) -> SignatureRefused:
    """The error with one of AdCP's signature codes."""
    return SignatureRefused(message, details={"signature_error": code})


def malformed(message: str) -> SignatureRefused:
    """The error for malformed or ambiguous headers."""
    return signature_error("request_signature_header_malformed", message)


def _check_window(created: int, expires: int, now: float, since: float) -> None:
    if not created < expires <= created + WINDOW:
        raise _outside_window(f"expires must be 1 to {WINDOW} seconds after created.")
    if not created - SKEW <= now <= expires + SKEW:
        raise _outside_window("The signature has expired or is not valid yet. Check your clock and sign again.")
    if created < since:
        raise _outside_window(
            "The server restarted, or its clock was set back, after the signature was created. Sign the request again."
        )


def _check_components(covered: set[str], headers: Headers, *, body: bool) -> None:
    required = [*_COMPONENTS]
    if "content-type" in headers:
        required.append("content-type")
    if body:
        required.append("content-digest")
    if missing := [name for name in required if name not in covered]:
        raise signature_error(
            "request_signature_components_incomplete", f"The signature must cover {', '.join(missing)}."
        )


def _dictionary(name: str, value: str | None) -> dict[str, tuple[Any, dict[str, Any]]]:
    """A header that is a non-empty dictionary (RFC 8941) without duplicate keys."""
    try:
        parsed = http_sf.parse((value or "").encode(), tltype="dictionary", on_duplicate_key=_refuse_duplicate)
    except ValueError as error:
        raise malformed(f"{name} must be a structured dictionary (RFC 8941), with each key once.") from error
    if not parsed:
        raise malformed(f"{name} is missing.")
    return cast("dict[str, tuple[Any, dict[str, Any]]]", parsed)


def _refuse_duplicate(_name: str, _where: str) -> None:
    raise ValueError("duplicate key")


def _in_base64(value: str | None) -> str | None:
    return value and _BASE64URL.sub(lambda binary: binary[0].translate(_TO_BASE64), value)


def _outside_window(message: str) -> SignatureRefused:
    return signature_error("request_signature_window_invalid", message)
