"""Verification of the signatures of a server's requests."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import http_sf
from http_message_signatures import ContentDigest, HTTPMessageVerifier, InvalidSignature, MappingKeyResolver
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Scope

from postback.auth.principal import Principal
from postback.auth.signatures.keys import SigningKey, SigningKeys
from postback.auth.signatures.nonces import MAX_NONCES, Nonces
from postback.auth.signatures.profile import (
    DeclaredSignature,
    check,
    is_signed,
    malformed,
    read_declared,
    signature_error,
)
from postback.auth.signatures.shared_nonces import SharedNonces
from postback.auth.signatures.target import SignatureTarget, canonical_authority, canonical_target
from postback.clock import Clock
from postback.errors import BodyTooLarge, SignatureRefused, StartupError
from postback.protocol.json_size import has_many_values
from postback.threads import ThreadPool

__all__ = ["Operation", "Signatures", "ambiguous_body"]

Operation = Callable[[bytes], str | None]
"""Body → the task that it calls; empty for an operation that isn't a task, None for no operation at all."""

_UNSIGNED_TASK = "get_adcp_capabilities"
"""It states which requests must be signed, so its caller can't know that yet."""

_LARGE = 256 * 1024
"""Bodies with more bytes are verified in a thread, and always signed."""

_MAX_VALUES = 2_000_000
"""Bound on the values in a body: those in arrays are all in memory while each is looked at."""


class Signatures:
    """The signing keys of a server's buyers, and the nonces that they have used.

    Args:
        keys: The signing keys.
        public_url: The URL at which callers reach the server; signatures cover it.
        tasks: The tasks that the server offers.
        threads: The threads that verify large bodies.
        clock: The time.
        nonces_per_key: The maximum number of nonces to remember per signing key.
        shared: The nonces that other servers have accepted, too; None if there are no others.

    Raises:
        StartupError: There are keys, and the host in ``public_url`` has no canonical form.
    """

    def __init__(
        self,
        keys: SigningKeys,
        public_url: str,
        tasks: Sequence[str],
        threads: ThreadPool,
        clock: Clock,
        nonces_per_key: int = MAX_NONCES,
        shared: SharedNonces | None = None,
    ) -> None:
        self._keys = keys
        self._shared = shared
        self._threads = threads
        self._url = public_url
        self._tasks = tasks
        self._clock = clock
        self._since = 0 if shared else int(clock.now())  # what was used before the start is not known
        self._nonces = {
            (key_id, kid): Nonces(clock.passed, nonces_per_key) for key_id, signing in keys.items() for kid in signing
        }
        if keys:
            _require_signable(public_url)

    def posture(self, principal: Principal) -> dict[str, Any] | None:
        """The ``request_signing`` capabilities of a caller: what it must sign; None if it need not sign."""
        if principal.key_id not in self._keys:
            return None
        return {
            "supported": True,
            "covers_content_digest": "required",
            "required_for": [task for task in self._tasks if task != _UNSIGNED_TASK],
            "supported_for": list(self._tasks),
        }

    async def verify(self, scope: Scope, body: bytes, principal: Principal, operation: Operation) -> None:
        """Verify a request's signature, if calls with its API key must be signed.

        This comes before the rate limit, so that a stolen API key alone can't exhaust it.

        Args:
            scope: The request's ASGI scope.
            body: Its body.
            principal: The caller, by its API key.
            operation: Returns what the body calls; used only when a signature may be required.

        Raises:
            SignatureRefused: The signature is missing or invalid; ``details`` has AdCP's code of the error.
            BodyTooLarge: The body has too many values.
        """
        keys = self._keys.get(principal.key_id)
        if keys is None:
            return
        verify = partial(self._verify, scope, body, keys, operation)
        used = await self._threads.run(verify) if len(body) > _LARGE else verify()
        if used and self._shared:
            await self._shared.use(*used)

    def _verify(
        self, scope: Scope, body: bytes, keys: Mapping[str, SigningKey], operation: Operation
    ) -> tuple[str, str, str] | None:
        """What was used: the API key, its signing key and the nonce; None if nothing had to be signed."""
        headers = Headers(scope=scope)
        if not is_signed(headers):
            _require_unsigned(body, operation)
            return None
        operation(body)
        if headers.get("content-encoding", "identity") != "identity":
            raise malformed("A signed request must not be compressed. Send it without content-encoding.")
        declared = read_declared(headers, keys)
        target = self._target(scope, headers)
        since = max(self._since, self._clock.distrusted_until)
        key = check(declared, headers, body=bool(body), now=self._clock.now(), since=since)
        nonces = self._nonces[key.key_id, key.kid]
        nonces.require_room()
        _verify_signature(scope["method"], target, declared, key, headers)
        _require_unambiguous(body)  # not before, since a thief of the API key can't come so far
        _verify_digest(declared.content_digest, body)
        nonce: str = declared.parameters["nonce"]
        nonces.use(nonce)
        return key.key_id, key.kid, nonce

    def _target(self, scope: Scope, headers: Headers) -> SignatureTarget:
        path = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
        query = scope["query_string"].decode("latin-1")
        target = canonical_target(f"{self._url}{path}" + (f"?{query}" if query else ""))
        host = headers.get("host", target.authority)
        try:
            if not host.isascii():
                raise ValueError("not an A-label")
            canonical_authority(host, scope.get("scheme", "http"))
        except ValueError as error:
            raise signature_error("request_target_uri_malformed", "The Host header must be an ASCII host.") from error
        return target


def ambiguous_body(message: str) -> SignatureRefused:
    """The error for a malformed or ambiguous body."""
    return signature_error("request_body_malformed", message)


@dataclass(frozen=True, slots=True)
class _Message:
    """The request in the form that the library reads."""

    method: str
    url: str
    headers: Headers


class _Verifier(HTTPMessageVerifier):
    def validate_created_and_expires(self, sig_input: Any, max_age: object = None) -> None:
        """Does nothing: ``check`` has applied the profile's own rules."""


def _verify_signature(
    method: str, target: SignatureTarget, declared: DeclaredSignature, key: SigningKey, headers: Headers
) -> None:
    # The library sees only the signature that counts, in the encoding that it understands.
    reduced = MutableHeaders(raw=list(headers.raw))
    inputs: dict[str, Any] = {declared.label: (declared.covered, declared.parameters)}
    reduced["signature-input"] = http_sf.ser(inputs)
    reduced["signature"] = http_sf.ser({declared.label: (declared.value, {})})
    resolver = MappingKeyResolver(public_keys={key.kid: key.public}, private_keys={})
    verifier = _Verifier(signature_algorithm=key.algorithm, key_resolver=resolver)
    try:
        verifier.verify(_Message(method, target.uri, reduced), max_age=None)
    except InvalidSignature as error:
        raise signature_error("request_signature_invalid", "The signature does not match the request.") from error


def _verify_digest(digest: str | None, body: bytes) -> None:
    if digest is None:
        return
    try:
        ContentDigest.verify(digest, body)
    except InvalidSignature as error:
        raise signature_error("request_signature_digest_mismatch", "content-digest does not match the body.") from error


def _require_unsigned(body: bytes, operation: Operation) -> None:
    """Check that what a body calls may be called without a signature."""
    if len(body) <= _LARGE:
        _require_unambiguous(body)
        if operation(body) in (None, _UNSIGNED_TASK):
            return
    raise signature_error("request_signature_required", "Calls with this API key must be signed.")


def _require_unambiguous(body: bytes) -> None:
    """Check that every parser reads a body the same way."""
    if has_many_values(body, _MAX_VALUES):
        raise BodyTooLarge(f"The body has more than {_MAX_VALUES:,} values: objects, arrays and what is in them.")
    try:
        if body:
            json.loads(
                body.decode(),
                object_pairs_hook=_require_distinct,
                parse_int=str,
                parse_float=str,
                parse_constant=_refuse_constant,
            )
    except (ValueError, RecursionError) as error:
        raise ambiguous_body("The body must be JSON in UTF-8, with each field name once per object.") from error


def _require_distinct(fields: list[tuple[str, object]]) -> None:
    if len({name for name, _ in fields}) < len(fields):
        raise ValueError("duplicate field name")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not valid JSON")


def _require_signable(url: str) -> None:
    try:
        canonical_target(url)
    except ValueError as error:
        raise StartupError(
            "Buyers can't sign the host in POSTBACK_PUBLIC_URL. Set the host name or address that they call."
        ) from error
