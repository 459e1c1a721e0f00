"""Verifies the signatures of one server's requests."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import http_sf
from anyio import to_thread
from http_message_signatures import ContentDigest, HTTPMessageVerifier, InvalidSignature, MappingKeyResolver
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Scope

from postback.errors import SignatureRefused, StartupError
from postback.principal import Principal
from postback.signatures.keys import SigningKey, SigningKeys
from postback.signatures.nonces import Nonces
from postback.signatures.profile import Declared, check, is_signed, malformed, read_declared, refused
from postback.signatures.target import Target, canonical_authority, canonical_target

__all__ = ["Operation", "Signatures", "unclear"]

Operation = Callable[[bytes], str | None]
"""Body → the task that it calls; empty for something that no task gives, None for nothing at all."""

_UNSIGNED_TASK = "get_adcp_capabilities"
"""It says which requests must be signed: who asks for it doesn't know that yet."""

_LARGE = 256 * 1024
"""Bytes of a body beyond which the event loop doesn't wait for it."""


class Signatures:
    """The signing keys of a server's buyers, and which of their signatures were used.

    Args:
        keys: The signing keys.
        public_url: Under which URL callers reach the server: they sign it.
        tasks: The tasks that the server offers.
        clock: Gives seconds since the epoch.

    Raises:
        StartupError: There are keys, and ``public_url`` has a host that nobody can sign.
    """

    def __init__(
        self, keys: SigningKeys, public_url: str, tasks: Sequence[str], clock: Callable[[], float] = time.time
    ) -> None:
        self._keys = keys
        self._url = public_url
        self._tasks = tasks
        self._clock = clock
        self._since = int(clock())
        self._nonces = {(key_id, kid): Nonces(clock) for key_id, signing in keys.items() for kid in signing}
        if keys:
            _refuse_unsignable(public_url)

    def posture(self, principal: Principal) -> dict[str, Any] | None:
        """What a caller must sign, as ``request_signing`` in its capabilities; None when it need not sign."""
        if principal.key_id not in self._keys:
            return None
        return {
            "supported": True,
            "covers_content_digest": "required",
            "required_for": [task for task in self._tasks if task != _UNSIGNED_TASK],
            "supported_for": list(self._tasks),
        }

    async def verify(self, scope: Scope, body: bytes, principal: Principal, operation: Operation) -> None:
        """See that a request is signed, if its API key's calls must be.

        This comes before the rate limit, so that whoever has an API key alone can't use up its minute.

        Args:
            scope: The request's ASGI scope.
            body: Its body.
            principal: Who calls, by the API key.
            operation: Tells what the body calls; asked only when a signature may be needed.

        Raises:
            SignatureRefused: It isn't, or not in AdCP's way; the error says which of AdCP's signature errors it is.
        """
        keys = self._keys.get(principal.key_id)
        if keys is None:
            return
        verify = partial(self._verify, scope, body, keys, operation)
        if len(body) > _LARGE:
            await to_thread.run_sync(verify)
        else:
            verify()

    def _verify(self, scope: Scope, body: bytes, keys: Mapping[str, SigningKey], operation: Operation) -> None:
        headers = Headers(scope=scope)
        _refuse_ambiguous(body)
        called = operation(body)
        if not is_signed(headers):
            if called in (None, _UNSIGNED_TASK):
                return
            raise refused("request_signature_required", "Calls with this API key must be signed.")
        if headers.get("content-encoding", "identity") != "identity":
            raise malformed("A signed request can't be compressed.")
        declared = read_declared(headers, keys)
        target = self._target(scope, headers)
        key = check(declared, headers, body=bool(body), now=self._clock(), since=self._since)
        nonces = self._nonces[key.key_id, key.kid]
        nonces.refuse_full()
        _verify_signature(scope["method"], target, declared, key, headers)
        _verify_digest(declared.content_digest, body)
        nonces.use(declared.parameters["nonce"])

    def _target(self, scope: Scope, headers: Headers) -> Target:
        path = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
        query = scope["query_string"].decode("latin-1")
        target = canonical_target(f"{self._url}{path}" + (f"?{query}" if query else ""))
        host = headers.get("host", target.authority)
        try:
            if not host.isascii():
                raise ValueError("a name that isn't an A-label")
            canonical_authority(host, scope.get("scheme", "http"))
        except ValueError as error:
            raise refused("request_target_uri_malformed", "The Host header must be a host, in ASCII.") from error
        return target


def unclear(why: str) -> SignatureRefused:
    """The refusal of a body that can be understood in no way, or in several."""
    return refused("request_body_malformed", why)


@dataclass(frozen=True, slots=True)
class _Message:
    """The request, as the library reads it."""

    method: str
    url: str
    headers: Headers


class _Verifier(HTTPMessageVerifier):
    def validate_created_and_expires(self, sig_input: Any, max_age: object = None) -> None:
        """The profile's checklist has its own rules for this, and was gone through."""


def _verify_signature(method: str, target: Target, declared: Declared, key: SigningKey, headers: Headers) -> None:
    # The library sees the one signature that counts, in the spelling that it knows.
    reduced = MutableHeaders(raw=list(headers.raw))
    members: dict[str, Any] = {declared.label: (declared.covered, declared.parameters)}
    reduced["signature-input"] = http_sf.ser(members)
    reduced["signature"] = http_sf.ser({declared.label: (declared.value, {})})
    resolver = MappingKeyResolver(public_keys={key.kid: key.public}, private_keys={})
    verifier = _Verifier(signature_algorithm=key.algorithm, key_resolver=resolver)
    try:
        verifier.verify(_Message(method, target.uri, reduced), max_age=None)
    except InvalidSignature as error:
        raise refused("request_signature_invalid", "The signature does not hold.") from error


def _verify_digest(digest: str | None, body: bytes) -> None:
    if digest is None:
        return
    try:
        ContentDigest.verify(digest, body)
    except InvalidSignature as error:
        raise refused("request_signature_digest_mismatch", "content-digest is not the body's.") from error


def _refuse_ambiguous(body: bytes) -> None:
    """See that every parser reads the same in a body, if there is one."""
    try:
        if body:
            json.loads(
                body.decode(), object_pairs_hook=_no_twins, parse_int=str, parse_float=str, parse_constant=_no_constant
            )
    except (ValueError, RecursionError) as error:
        raise unclear("The body must be JSON in UTF-8, with each name once in an object.") from error


def _no_twins(members: list[tuple[str, object]]) -> None:
    if len({name for name, _ in members}) < len(members):
        raise ValueError("a name is given twice")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _refuse_unsignable(url: str) -> None:
    try:
        canonical_target(url)
    except ValueError as error:
        raise StartupError("POSTBACK_PUBLIC_URL must name a host that buyers can sign; correct it.") from error
