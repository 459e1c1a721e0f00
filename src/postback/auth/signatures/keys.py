"""The buyers' public keys, read from a file at startup.

The file is a JSON Web Key Set (RFC 7517). Each key also names the API key whose calls it signs:

```json
{"keys": [{"kid": "agency-2026", "kty": "OKP", "crv": "Ed25519", "x": "...", "postback_key_id": "key_6d8d1a9d5544"}]}
```
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from http_message_signatures import HTTPSignatureAlgorithm, algorithms
from msgspec import Meta

from postback.errors import StartupError

__all__ = ["MAX_KID", "SigningKey", "SigningKeys", "read_signing_keys"]

MAX_KID = 256

PublicKey: TypeAlias = Ed25519PublicKey | EllipticCurvePublicKey


class _Jwk(msgspec.Struct, frozen=True):
    """A key in the file. If it restricts its use, that must include AdCP's profile."""

    kid: Annotated[str, Meta(min_length=1, max_length=MAX_KID)]
    postback_key_id: str
    kty: Literal["OKP", "EC"]
    crv: Literal["Ed25519", "P-256"]
    x: str
    y: str = ""
    alg: Literal["EdDSA", "Ed25519", "ES256"] | None = None
    use: Literal["sig"] = "sig"
    key_ops: tuple[str, ...] = ("verify",)
    adcp_use: Literal["request-signing"] = "request-signing"
    postback_adcp_version: Literal["3.0", "3.1", "3.2"] = "3.2"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A buyer's public key.

    Attributes:
        kid: Its name, the ``keyid`` of signatures.
        key_id: The API key whose calls it signs.
        public: The public key.
        algorithm: The signature algorithm.
        base64url: Whether its signatures encode bytes like AdCP 3.0 and 3.1: base64url without padding.
    """

    kid: str
    key_id: str
    public: PublicKey
    algorithm: type[HTTPSignatureAlgorithm]
    base64url: bool = False


SigningKeys: TypeAlias = Mapping[str, Mapping[str, SigningKey]]
"""API key → kid → signing key. An API key has several during a rotation."""


def read_signing_keys(path: Path | None, known: Collection[str]) -> SigningKeys:
    """The keys in a file; none if ``path`` is None.

    Args:
        path: The file.
        known: The ids of the API keys that exist.

    Raises:
        StartupError: The file is unreadable or invalid; the message names the place.
    """
    keys: dict[str, dict[str, SigningKey]] = {}
    for index, entry in enumerate(_entries(path) if path else ()):
        at = f"{path}: keys[{index}]"
        key = _key(entry, at)
        if key.key_id not in known:
            raise StartupError(
                f"{at}.postback_key_id does not name an API key. 'postback keys list' lists the ids of the keys."
            )
        if key.kid in keys.setdefault(key.key_id, {}):
            raise StartupError(f"{at} has the same kid as another signing key of this API key. Give each its own.")
        keys[key.key_id][key.kid] = key
    return keys


def _entries(path: Path) -> list[object]:
    try:
        document = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise StartupError(f"The file of signing keys {path} can't be read: {error.strerror}.") from error
    except ValueError as error:
        raise StartupError(f"The file of signing keys {path} is not valid JSON.") from error
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise StartupError(f'{path} must be a JSON Web Key Set: {{"keys": [...]}}.')
    return entries


def _key(entry: object, at: str) -> SigningKey:
    try:
        jwk = msgspec.convert(entry, _Jwk)
        public, algorithm = _public(jwk)
    except (msgspec.ValidationError, ValueError) as error:
        raise StartupError(
            f"{at} must be an Ed25519 or P-256 public key for signing requests, with a kid and a postback_key_id."
        ) from error
    return SigningKey(jwk.kid, jwk.postback_key_id, public, algorithm, base64url=jwk.postback_adcp_version != "3.2")


def _public(jwk: _Jwk) -> tuple[PublicKey, type[HTTPSignatureAlgorithm]]:
    if "verify" not in jwk.key_ops:
        raise ValueError("key_ops excludes verify")
    if (jwk.kty, jwk.crv) == ("OKP", "Ed25519") and jwk.alg != "ES256":
        return Ed25519PublicKey.from_public_bytes(_bytes(jwk.x)), algorithms.ED25519
    if (jwk.kty, jwk.crv) == ("EC", "P-256") and jwk.alg in (None, "ES256"):
        x, y = (int.from_bytes(_bytes(part)) for part in (jwk.x, jwk.y))
        return EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key(), algorithms.ECDSA_P256_SHA256
    raise ValueError("unsupported key type, curve or algorithm")


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
