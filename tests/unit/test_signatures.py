"""Which signatures hold, and what an operator can get wrong."""

from __future__ import annotations

import json
import tracemalloc
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from adcp.signing import sign_request
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.clocks import DAY, Hands

from postback.auth.principal import Principal
from postback.auth.signatures.keys import read_signing_keys
from postback.auth.signatures.verifier import Signatures
from postback.clock import LASTING_SECONDS
from postback.errors import BodyTooLarge, SignatureRefused, StartupError
from postback.threads import ThreadPool

PRIVATE = Ed25519PrivateKey.generate()
BUYER = Principal("key_1", ())
URL = "https://seller.example"
NOW = 1_776_520_800


def jwk(key_id: str = "key_1", kid: str = "agency", private: Ed25519PrivateKey = PRIVATE) -> dict[str, str]:
    raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    x = urlsafe_b64encode(raw).rstrip(b"=").decode()
    return {"kid": kid, "kty": "OKP", "crv": "Ed25519", "x": x, "postback_key_id": key_id}


def keys_file(folder: Path, *entries: dict[str, str]) -> Path:
    file = folder / "keys.json"
    file.write_text(json.dumps({"keys": entries}))
    return file


@pytest.fixture
def hands() -> Hands:
    return Hands(NOW)


async def send(
    signatures: Signatures,
    path: str = "/v1/list_accounts",
    body: bytes = b"{}",
    called: str = "list_accounts",
    **change: Any,
) -> str:
    """Send a signed request; returns the code it is refused with, or ``verified``."""
    headers = {"content-type": "application/json"} | change.pop("headers", {})
    options = {"url": f"{URL}{path}", "private_key": PRIVATE, "key_id": "agency", "created": NOW} | change
    options |= {"alg": "ed25519", "cover_content_digest": True, "signing_profile_version": "3.2"}
    signed = headers | sign_request(method="POST", headers=headers, body=body, **options).as_dict()
    return await verdict(signatures, path, body, signed, "list_accounts")


async def verdict(
    signatures: Signatures, path: str, body: bytes, headers: Mapping[str, str], called: str | None
) -> str:
    """The code that a request is refused with, or ``verified``; ``called`` is what it calls."""
    url = urlsplit(path)
    scope = {
        "type": "http",
        "method": "POST",
        "scheme": "http",
        "path": url.path,
        "raw_path": url.path.encode(),
        "query_string": url.query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }
    try:
        await signatures.verify(scope, body, BUYER, lambda _: called)
    except SignatureRefused as refusal:
        return str((refusal.details or {})["signature_error"])
    return "verified"


@pytest.fixture
def start(tmp_path: Path, hands: Hands) -> Any:
    """Start a server, so to say."""

    def start(public_url: str = URL, *entries: dict[str, str], **options: Any) -> Signatures:
        keys = read_signing_keys(keys_file(tmp_path, *(entries or (jwk(),))), {"key_1"})
        return Signatures(keys, public_url, ["list_accounts"], ThreadPool("compute", 1), hands.clock, **options)

    return start


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("public_url", "called"),
    [
        ("https://seller.example/ads", f"{URL}/ads/v1/list_accounts?x=1"),
        ("https://Seller.Example:443", f"{URL}/v1/list_accounts?x=1"),
        ("https://seller.example", "https://seller.example.:443/v1/%6cist_accounts?x=1"),
        ("https://münchen.example", "https://xn--mnchen-3ya.example/v1/list_accounts?x=1"),
        ("http://post_back:8787", "http://post_back:8787/v1/list_accounts?x=1"),
    ],
    ids=["path", "port", "spelling", "u-label", "underscore"],
)
async def test_the_url_is_the_one_that_buyers_call(start: Any, public_url: str, called: str) -> None:
    assert await send(start(public_url), "/v1/list_accounts?x=1", url=called) == "verified"


@pytest.mark.anyio
async def test_what_was_captured_before_a_restart_is_of_no_use_after_it(start: Any, hands: Hands) -> None:
    captured: dict[str, Any] = {"nonce": "captured"}
    first = await send(start(), **captured)
    hands.let_pass(1)

    assert first == "verified"
    assert await send(start(), **captured) == "request_signature_window_invalid"


@pytest.mark.anyio
async def test_a_nonce_is_remembered_while_its_signature_is_valid(start: Any, hands: Hands) -> None:
    signatures = start()
    hands.let_pass(-60)  # the server's clock is late
    first = await send(signatures, nonce="once")
    hands.let_pass(420)

    assert first == "verified"
    assert await send(signatures, nonce="once") == "request_signature_replayed"


@pytest.mark.anyio
async def test_a_nonce_is_remembered_when_the_clock_jumps_for_a_second(start: Any, hands: Hands) -> None:
    signatures = start()
    first = await send(signatures, nonce="once")
    hands.set_wall(400 * DAY)
    during = await send(signatures, nonce="other")
    hands.let_pass(1)
    hands.set_wall(-400 * DAY)

    assert (first, during) == ("verified", "verified")
    assert await send(signatures, nonce="once") == "request_signature_replayed"
    assert await send(signatures, nonce="other") == "request_signature_replayed"


@pytest.mark.anyio
async def test_what_was_captured_before_the_clock_was_set_back_is_of_no_use_after_it(start: Any, hands: Hands) -> None:
    signatures = start()
    hands.let_pass(3600)
    first = await send(signatures, nonce="once", created=NOW + 3600)
    hands.let_pass(900)
    hands.set_wall(-1200)
    hands.let_pass(LASTING_SECONDS)

    assert first == "verified"
    assert await send(signatures, nonce="once", created=NOW + 3600) == "request_signature_window_invalid"


@pytest.mark.anyio
async def test_a_key_that_signs_too_often_leaves_the_others_alone(start: Any) -> None:
    signatures = start(URL, jwk(), jwk(kid="next"), nonces_per_key=2)

    often = [await send(signatures) for _ in range(3)]

    assert often == ["verified", "verified", "request_signature_rate_abuse"]
    assert await send(signatures, key_id="next") == "verified"


@pytest.mark.anyio
async def test_keys_take_over_from_each_other(start: Any) -> None:
    following = Ed25519PrivateKey.generate()
    signatures = start(URL, jwk(), jwk(kid="next", private=following))

    assert await send(signatures) == "verified"
    assert await send(signatures, key_id="next", private_key=following) == "verified"
    assert await send(signatures, key_id="next") == "request_signature_invalid"


@pytest.mark.anyio
@pytest.mark.parametrize("host", ["::1", "a..example", "", "seller.example:http"])
async def test_a_host_header_that_is_no_host_is_refused(start: Any, host: str) -> None:
    assert await send(start(), headers={"host": host}) == "request_target_uri_malformed"


@pytest.mark.anyio
async def test_a_signed_request_is_not_compressed(start: Any) -> None:
    assert await send(start(), headers={"content-encoding": "gzip"}) == "request_signature_header_malformed"


def _lists(values: int) -> bytes:
    return b'{"x":[' + b"[]," * (values - 2) + b"0]}"


async def _peak(work: Awaitable[object]) -> int:
    """The most memory that Python objects take at a time meanwhile, in bytes."""
    tracemalloc.start()
    try:
        await work
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.anyio
@pytest.mark.parametrize("called", ["list_accounts", "get_adcp_capabilities", None])
async def test_a_large_body_without_a_signature_is_refused_unread(start: Any, called: str | None) -> None:
    signatures, body, refused = start(), _lists(1_000_000), []

    async def call() -> None:
        refused.append(await verdict(signatures, "/v1/list_accounts", body, {}, called))

    assert await _peak(call()) < 3 * len(body)
    assert refused == ["request_signature_required"]


@pytest.mark.anyio
async def test_a_large_body_whose_signature_does_not_hold_is_refused_unread(start: Any) -> None:
    signatures, body, refused = start(), _lists(1_000_000), []

    async def call() -> None:
        refused.append(await send(signatures, body=body, private_key=Ed25519PrivateKey.generate()))

    assert await _peak(call()) < 3 * len(body)
    assert refused == ["request_signature_invalid"]


@pytest.mark.anyio
async def test_a_signed_body_has_at_most_two_million_values(start: Any) -> None:
    signatures, body = start(), _lists(2_000_010)

    async def call() -> None:
        with pytest.raises(BodyTooLarge, match="more than 2,000,000 values"):
            await send(signatures, body=body)

    assert await _peak(call()) < 3 * len(body)
    assert await send(signatures, body=_lists(300_000)) == "verified"


@pytest.mark.anyio
@pytest.mark.parametrize("called", ["get_adcp_capabilities", None])
async def test_what_needs_no_signature_must_not_be_ambiguous_either(start: Any, called: str | None) -> None:
    async def ask(body: bytes) -> str:
        return await verdict(signatures, "/v1/get_adcp_capabilities", body, {}, called)

    signatures = start()

    assert await ask(b'{"ext":{"a":1}}') == "verified"
    assert await ask(b'{"ext":{"a":1,"a":2}}') == "request_body_malformed"


def test_a_public_url_that_nobody_can_sign_is_told_at_start(start: Any) -> None:
    with pytest.raises(StartupError, match="POSTBACK_PUBLIC_URL"):
        start("https://seller..example")


@pytest.mark.parametrize(
    "document",
    ["{", "[]", '{"keys": [{}]}', '{"keys": [{"kid": "a", "kty": "RSA", "crv": "", "x": "", "postback_key_id": "k"}]}'],
)
def test_keys_that_cannot_be_used_are_told_at_start(document: str, tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text(document)

    with pytest.raises(StartupError, match=r"keys\.json"):
        read_signing_keys(tmp_path / "keys.json", {"k"})


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ([jwk("key_of_nobody")], r"keys\[0\]\.postback_key_id does not name an API key"),
        ([jwk(), jwk(private=Ed25519PrivateKey.generate())], r"keys\[1\] has the same kid as another"),
        ([jwk() | {"postback_adcp_version": "2.0"}], r"keys\[0\] must be"),
    ],
    ids=["unknown", "twice", "release"],
)
def test_a_file_that_does_not_say_whose_key_is_whose_is_refused(
    entries: list[dict[str, str]], told: str, tmp_path: Path
) -> None:
    with pytest.raises(StartupError, match=told):
        read_signing_keys(keys_file(tmp_path, *entries), {"key_1"})
