"""A buyer's agent signs its requests as the official SDK does; nobody else can use its API key."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from adcp.signing import sign_request
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from http_message_signatures import HTTPMessageSigner, HTTPSignatureKeyResolver, algorithms

from postback.errors import StartupError
from postback.signatures import read_signing_keys

if TYPE_CHECKING:
    from tests.conftest import Server, StartServer

ED25519 = Ed25519PrivateKey.generate()
P256 = ec.generate_private_key(ec.SECP256R1())
KEYS: dict[str, Any] = {"ed25519": ED25519, "ecdsa-p256-sha256": P256}


def jwk(alg: str, key_id: str) -> dict[str, str]:
    named = {"kid": f"agency-{alg}", "postback_key_id": key_id}
    if alg == "ed25519":
        raw = ED25519.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return named | {"kty": "OKP", "crv": "Ed25519", "x": _text(raw)}
    numbers = P256.public_key().public_numbers()
    point = {"x": _text(numbers.x.to_bytes(32)), "y": _text(numbers.y.to_bytes(32))}
    return named | {"kty": "EC", "crv": "P-256", **point}


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass(frozen=True)
class Agency:
    """A server, the buyer's API key whose calls must be signed, and what they are signed with."""

    server: Server
    key: str
    alg: str

    def call(self, path: str = "/v1/list_accounts", body: Any = None, **change: Any) -> httpx2.Response:
        """Call with a signature, but for ``change``: ``sent`` replaces the body that was signed."""
        signed = json.dumps({} if body is None else body).encode()
        sent = change.pop("sent", signed)
        headers = {"content-type": "application/json"}
        options = {
            "key_id": f"agency-{self.alg}",
            "private_key": KEYS[self.alg],
            "alg": self.alg,
            "cover_content_digest": True,
            "signing_profile_version": "3.2",
        } | change
        signature = sign_request(
            method="POST", url=f"{self.server.url}{path}", headers=headers, body=signed, **options
        ).as_dict()
        return self.post(path, sent, headers | signature)

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> httpx2.Response:
        """Call with exactly these headers and the API key."""
        keyed = headers | {"Authorization": f"Bearer {self.key}"}
        if path in {"/mcp", "/a2a"}:
            keyed |= {"Accept": "application/json, text/event-stream"}
        return httpx2.post(f"{self.server.url}{path}", content=body, headers=keyed)


@pytest.fixture(scope="module", params=list(KEYS))
def agency(
    request: pytest.FixtureRequest, start_server: StartServer, tmp_path_factory: pytest.TempPathFactory
) -> Agency:
    first = start_server()
    key = first.command("keys", "create", "--account", "default", "--name", "agency")
    (line,) = [line for line in first.command("keys", "list").splitlines() if " agency " in line]
    keys: Path = tmp_path_factory.mktemp("signing") / "keys.json"
    keys.write_text(json.dumps({"keys": [jwk(request.param, line.split()[0])]}))
    first.stop()
    return Agency(start_server(data=first.data, signing_keys=keys), key, request.param)


def error(response: httpx2.Response) -> str:
    code: str = response.json()["adcp_error"]["details"]["signature_error"]
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == f'Signature error="{code}"'
    return code


MCP = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "list_accounts", "arguments": {}}}
A2A = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "message/send",
    "params": {
        "message": {
            "kind": "message",
            "role": "user",
            "messageId": "1",
            "parts": [{"kind": "data", "data": {"skill": "list_accounts", "input": {}}}],
        }
    },
}


@pytest.mark.parametrize(("path", "body"), [("/v1/list_accounts", {}), ("/mcp", MCP), ("/a2a", A2A)])
def test_a_signed_call_is_answered_and_an_unsigned_one_is_not(agency: Agency, path: str, body: dict[str, Any]) -> None:
    signed = agency.call(path, body)
    unsigned = agency.post(path, json.dumps(body).encode(), {"content-type": "application/json"})

    assert signed.status_code == 200
    assert "default" in signed.text
    assert error(unsigned) == "request_signature_required"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"sent": b'{"sandbox": true}'}, "request_signature_invalid"),
        ({"private_key": "another"}, "request_signature_invalid"),
        ({"key_id": "agency-of-nobody"}, "request_signature_invalid"),
        ({"tag": "adcp/webhook-signing/v1"}, "request_signature_invalid"),
        ({"created": int(time.time()) - 3600}, "request_signature_invalid"),
        ({"created": int(time.time()) + 3600}, "request_signature_invalid"),
        ({"cover_content_digest": False, "signing_profile_version": "3.1"}, "request_signature_invalid"),
    ],
    ids=["body", "key", "keyid", "tag", "old", "early", "no digest"],
)
def test_a_signature_that_does_not_hold_is_refused(agency: Agency, change: dict[str, Any], code: str) -> None:
    if change.get("private_key"):
        another: dict[str, Any] = {
            "ed25519": Ed25519PrivateKey.generate(),
            "ecdsa-p256-sha256": ec.generate_private_key(ec.SECP256R1()),
        }
        change = {"private_key": another[agency.alg]}

    assert error(agency.call(**change)) == code


def test_a_signature_of_another_url_is_refused(agency: Agency) -> None:
    body = b"{}"
    headers = {"content-type": "application/json"}
    signature = sign_request(
        method="POST",
        url=f"{agency.server.url}/v1/get_products",
        headers=headers,
        body=body,
        private_key=KEYS[agency.alg],
        key_id=f"agency-{agency.alg}",
        alg=agency.alg,
        cover_content_digest=True,
        signing_profile_version="3.2",
    ).as_dict()

    assert error(agency.post("/v1/list_accounts", body, headers | signature)) == "request_signature_invalid"


@pytest.mark.parametrize(("lives", "nonce"), [(3600, "long-lived"), (60, None)], ids=["long", "no nonce"])
def test_a_signature_without_close_bounds_is_refused(agency: Agency, lives: int, nonce: str | None) -> None:
    class Resolver(HTTPSignatureKeyResolver):
        def resolve_private_key(self, key_id: str) -> Any:
            return KEYS[agency.alg]

    algorithm = algorithms.ED25519 if agency.alg == "ed25519" else algorithms.ECDSA_P256_SHA256
    signer = HTTPMessageSigner(signature_algorithm=algorithm, key_resolver=Resolver())
    request = httpx2.Request(
        "POST", f"{agency.server.url}/v1/list_accounts", content=b"{}", headers={"content-type": "application/json"}
    )
    now = datetime.now(UTC)
    message = SimpleNamespace(method="POST", url=str(request.url), headers=dict(request.headers))
    signer.sign(
        message,
        key_id=f"agency-{agency.alg}",
        created=now,
        expires=now + timedelta(seconds=lives),
        nonce=nonce,
        tag="adcp/request-signing/v1",
        covered_component_ids=("@method", "@target-uri", "content-type"),
        body=b"{}",
    )

    refused = agency.post("/v1/list_accounts", b"{}", message.headers)

    wanted = "request_signature_window_invalid" if nonce else "request_signature_params_incomplete"
    assert error(refused) == wanted


def test_a_captured_request_cannot_be_sent_again(agency: Agency) -> None:
    first = agency.call(nonce="captured-0123456789abcdef")
    again = agency.call(nonce="captured-0123456789abcdef")

    assert first.status_code == 200
    assert error(again) == "request_signature_replayed"


def test_other_keys_go_on_without(agency: Agency) -> None:
    assert agency.server.call("list_accounts").status_code == 200


@pytest.mark.parametrize(
    "document",
    ["{", "[]", '{"keys": [{}]}', '{"keys": [{"kid": "a", "kty": "RSA", "crv": "", "x": "", "postback_key_id": "k"}]}'],
)
def test_keys_that_cannot_be_used_are_told_at_start(document: str, tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text(document)

    with pytest.raises(StartupError, match=r"keys\.json"):
        read_signing_keys(tmp_path / "keys.json")
