"""Signed requests: RFC 9421 in AdCP's profile, for the API keys that have a signing key.

A stolen API key is of no use without the signing key. The file that POSTBACK_SIGNING_KEYS names is a JSON Web Key Set
(RFC 7517) whose keys say, beside the public key, which API key must sign with it:

```json
{"keys": [{"kid": "agency-2026", "kty": "OKP", "crv": "Ed25519", "x": "...", "postback_key_id": "key_6d8d1a9d5544"}]}
```
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from cachetools import TTLCache
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePublicKey,
    EllipticCurvePublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from http_message_signatures import (
    HTTPMessageSignaturesException,
    HTTPMessageVerifier,
    HTTPSignatureKeyResolver,
    algorithms,
)
from starlette.datastructures import Headers
from starlette.types import Scope

from postback.errors import SignatureRefused, StartupError
from postback.principal import Principal

__all__ = ["Signatures", "SigningKey", "read_signing_keys"]

_TAG = "adcp/request-signing/v1"
_COMPONENTS = ("@method", "@target-uri", "content-type", "content-digest")
_WINDOW = 300
_SKEW = timedelta(seconds=60)
_MOST_NONCES = 100_000


class _Jwk(msgspec.Struct, frozen=True):
    kid: str
    kty: str
    crv: str
    x: str
    postback_key_id: str
    y: str = ""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A buyer's public key.

    Attributes:
        kid: Names it, as ``keyid`` in signatures.
        key_id: The API key whose calls it signs.
        public: The key.
        algorithm: What it signs with.
    """

    kid: str
    key_id: str
    public: Ed25519PublicKey | EllipticCurvePublicKey
    algorithm: type[Any]


class _Resolver(HTTPSignatureKeyResolver):
    def __init__(self, key: SigningKey) -> None:
        self._key = key

    def resolve_public_key(self, key_id: str) -> Any:
        return self._key.public if key_id == self._key.kid else None


class _Verifier(HTTPMessageVerifier):
    max_clock_skew = _SKEW


@dataclass(frozen=True, slots=True)
class _Signed:
    """The request, as the verifier reads it."""

    method: str
    url: str
    headers: dict[str, str]


class Signatures:
    """Verifies the signatures of one server's requests.

    Args:
        keys: The signing keys.
        public_url: Under which URL callers reach the server: they sign it.
    """

    def __init__(self, keys: list[SigningKey], public_url: str) -> None:
        self._by_api_key = {key.key_id: key for key in keys}
        self._url = public_url
        self._nonces: TTLCache[tuple[str, str], None] = TTLCache(_MOST_NONCES, _WINDOW + 2 * _SKEW.total_seconds())

    def verify(self, scope: Scope, body: bytes, principal: Principal) -> None:
        """See that a request is signed, if its API key's calls must be.

        Args:
            scope: The request's ASGI scope.
            body: Its body.
            principal: Who calls, by the API key.

        Raises:
            SignatureRefused: It isn't, or not in AdCP's way; the error says which of AdCP's signature errors it is.
        """
        key = self._by_api_key.get(principal.key_id)
        if key is None:
            return
        headers = Headers(scope=scope)
        if "signature-input" not in headers:
            raise _refused("request_signature_required", "Calls with this API key must be signed.")
        if headers.get("content-encoding", "identity") != "identity":
            raise _refused("request_signature_header_malformed", "A signed request can't be compressed.")
        parameters = self._verified(_Signed("POST", self._target(scope), _joined(headers)), body, key)
        self._use_nonce(key.kid, parameters)

    def _verified(self, request: _Signed, body: bytes, key: SigningKey) -> Mapping[str, Any]:
        verifier = _Verifier(signature_algorithm=key.algorithm, key_resolver=_Resolver(key))
        try:
            (result,) = verifier.verify(
                request,
                max_age=timedelta(seconds=_WINDOW),
                expect_tag=_TAG,
                require_components=_COMPONENTS,
                body=body,
            )
        except (HTTPMessageSignaturesException, ValueError) as error:
            raise _refused("request_signature_invalid", "The signature does not hold.") from error
        parameters: dict[str, Any] = dict(result.parameters)
        created, expires = parameters.get("created", 0), parameters.get("expires")
        if expires is None or not 0 < expires - created <= _WINDOW or expires < time.time() - _SKEW.total_seconds():
            raise _refused(
                "request_signature_window_invalid", f"expires must be at most {_WINDOW} seconds after created."
            )
        return parameters

    def _use_nonce(self, kid: str, parameters: Mapping[str, Any]) -> None:
        nonce = parameters.get("nonce")
        if not nonce or len(nonce) > 256:
            raise _refused("request_signature_params_incomplete", "The signature needs a nonce of 1 to 256 characters.")
        if (kid, nonce) in self._nonces:
            raise _refused("request_signature_replayed", "This nonce was used before.")
        if len(self._nonces) >= _MOST_NONCES:
            raise _refused("request_signature_rate_abuse", "Too many signatures within five minutes.")
        self._nonces[kid, nonce] = None

    def _target(self, scope: Scope) -> str:
        query = scope["query_string"].decode("latin-1")
        base = urlsplit(self._url)
        path = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
        return f"{base.scheme}://{base.netloc}{path}" + (f"?{query}" if query else "")


def read_signing_keys(path: Path | None) -> list[SigningKey]:
    """The keys of a file; None holds none.

    Raises:
        StartupError: It can't be read or used; the sentence names the place.
    """
    if path is None:
        return []
    try:
        document = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise StartupError(f"The signing keys {path} can't be read: {error.strerror}.") from error
    except ValueError as error:
        raise StartupError(f"The signing keys {path} are not JSON.") from error
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise StartupError(f'{path} must be a JSON Web Key Set, as {{"keys": [...]}}.')
    return [_key(entry, f"{path}: keys[{index}]") for index, entry in enumerate(entries)]


def _key(entry: object, at: str) -> SigningKey:
    try:
        jwk = msgspec.convert(entry, _Jwk)
        public, algorithm = _public(jwk)
    except (msgspec.ValidationError, ValueError) as error:
        raise StartupError(
            f"{at} must be an Ed25519 or P-256 public key with kid and postback_key_id (RFC 7517)."
        ) from error
    return SigningKey(jwk.kid, jwk.postback_key_id, public, algorithm)


def _public(jwk: _Jwk) -> tuple[Ed25519PublicKey | EllipticCurvePublicKey, type[Any]]:
    if (jwk.kty, jwk.crv) == ("OKP", "Ed25519"):
        return Ed25519PublicKey.from_public_bytes(_bytes(jwk.x)), algorithms.ED25519
    if (jwk.kty, jwk.crv) == ("EC", "P-256"):
        x, y = (int.from_bytes(_bytes(part)) for part in (jwk.x, jwk.y))
        return EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key(), algorithms.ECDSA_P256_SHA256
    raise ValueError("another curve")


def _bytes(text: str) -> bytes:
    return msgspec.convert(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), bytes)


def _joined(headers: Headers) -> dict[str, str]:
    return {name: ", ".join(headers.getlist(name)) for name in headers}


def _refused(code: str, why: str) -> SignatureRefused:
    return SignatureRefused(why, details={"signature_error": code})
