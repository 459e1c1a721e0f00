"""A buyer's agent signs its requests as the official SDK does; nobody else can use its API key."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx2
import pytest
from adcp import ADCPClient, ListAccountsRequest, LogEventRequest, SyncEventSourcesRequest
from adcp.signing import SigningConfig, sign_request
from adcp.types import AgentConfig, GetAdcpCapabilitiesRequest, Protocol
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.acceptance.conversions import order
from tests.acceptance.official import DIALECTS, refuse_unless_valid, unique_key
from tests.conftest import HTTP

if TYPE_CHECKING:
    from tests.conftest import Server, StartServer

ED25519 = Ed25519PrivateKey.generate()
P256 = ec.generate_private_key(ec.SECP256R1())
KEYS: dict[str, Any] = {"ed25519": ED25519, "ecdsa-p256-sha256": P256}


def jwk(alg: str, key_id: str, **said: str) -> dict[str, str]:
    """The public key, as an operator writes it down for an API key."""
    named = {"kid": f"agency-{alg}", "postback_key_id": key_id} | said
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
        return self.post(path, sent, headers | self.signature("POST", path, headers, signed, **change))

    def signature(
        self, method: str, path: str, headers: dict[str, str], body: bytes = b"", **change: Any
    ) -> dict[str, str]:
        """The headers by which a request is signed."""
        options = {
            "url": f"{self.server.url}{path}",
            "key_id": f"agency-{self.alg}",
            "private_key": KEYS[self.alg],
            "alg": self.alg,
            "cover_content_digest": bool(body),
            "signing_profile_version": "3.2",
        } | change
        return dict(sign_request(method=method, headers=headers, body=body, **options).as_dict())

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> httpx2.Response:
        """Call with exactly these headers and the API key."""
        keyed = headers | {"Authorization": f"Bearer {self.key}"}
        if path in {"/mcp", "/a2a"}:
            keyed |= {"Accept": "application/json, text/event-stream"}
        return HTTP.post(f"{self.server.url}{path}", content=body, headers=keyed)


def new_key(server: Server) -> tuple[str, str]:
    """A new API key of the account, and its id."""
    name = f"agency-{uuid4()}"
    key = server.command("keys", "create", "--account", "default", "--name", name, "--scope", "both")
    (line,) = [line for line in server.command("keys", "list").splitlines() if name in line]
    return key, line.split()[0]


@pytest.fixture(scope="module")
def agencies(start_server: StartServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Agency]:
    """An agency for each algorithm. Each had another signing key when it spoke AdCP 3.1, which is still good."""
    first = start_server()
    made = {alg: new_key(first) for alg in KEYS}
    first.stop()
    entries = [
        jwk(alg, key_id, **said)
        for alg, (_, key_id) in made.items()
        for said in ({}, {"kid": "agency-of-3.1", "postback_adcp_version": "3.1"})
    ]
    keys: Path = tmp_path_factory.mktemp("signing") / "keys.json"
    keys.write_text(json.dumps({"keys": entries}))
    server = start_server(data=first.data, signing_keys=keys)
    return {alg: Agency(server, key, alg) for alg, (key, _) in made.items()}


@pytest.fixture(params=list(KEYS))
def agency(request: pytest.FixtureRequest, agencies: dict[str, Agency]) -> Agency:
    return agencies[request.param]


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


UNBOUND = {"cover_content_digest": False, "signing_profile_version": "3.1", "key_id": "agency-of-3.1"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"sent": b'{"sandbox": true}'}, "request_signature_digest_mismatch"),
        ({"private_key": "another"}, "request_signature_invalid"),
        ({"key_id": "agency-of-nobody"}, "request_signature_key_unknown"),
        ({"tag": "adcp/webhook-signing/v1"}, "request_signature_tag_invalid"),
        ({"created": int(time.time()) - 3600}, "request_signature_window_invalid"),
        ({"created": int(time.time()) + 3600}, "request_signature_window_invalid"),
        (UNBOUND, "request_signature_components_incomplete"),
        ({"url": "http://127.0.0.1/v1/get_products"}, "request_signature_invalid"),
        ({"sent": b'{"sandbox": true, "sandbox": false}'}, "request_body_malformed"),
    ],
    ids=["body", "key", "keyid", "tag", "old", "early", "no digest", "url", "ambiguous"],
)
def test_a_signature_that_does_not_hold_is_refused(agency: Agency, change: dict[str, Any], code: str) -> None:
    if change.get("private_key"):
        another: dict[str, Any] = {
            "ed25519": Ed25519PrivateKey.generate(),
            "ecdsa-p256-sha256": ec.generate_private_key(ec.SECP256R1()),
        }
        change = {"private_key": another[agency.alg]}

    assert error(agency.call(**change)) == code


def test_a_captured_request_cannot_be_sent_again(agency: Agency) -> None:
    first = agency.call(nonce="captured-0123456789abcdef")
    again = agency.call(nonce="captured-0123456789abcdef")

    assert first.status_code == 200
    assert error(again) == "request_signature_replayed"


READS = [
    "/v1/events/website/purchase/1",
    "/v1/media-buys/mb_1/conversions",
    "/v1/media-buys/mb_1/conversions?account_id=default&limit=5",
]


@pytest.mark.parametrize("path", READS)
def test_reads_are_signed_without_a_body(agency: Agency, path: str) -> None:
    with agency.server.client(Authorization=f"Bearer {agency.key}") as client:
        unsigned = client.get(path)
        signed = client.get(path, headers=agency.signature("GET", path, {}))

    assert error(unsigned) == "request_signature_required"
    assert signed.status_code == 404, "there is nothing yet, but it may be asked for"


def test_numbers_are_made_final_by_a_signed_request(agency: Agency) -> None:
    path = "/v1/media-buys/mb_1/packages/p_1/finalize"
    with agency.server.client(Authorization=f"Bearer {agency.key}") as client:
        unsigned = client.post(path)
        signed = client.post(path, headers=agency.signature("POST", path, {}))

    assert error(unsigned) == "request_signature_required"
    assert signed.status_code == 404


def test_a_large_batch_is_signed(agency: Agency) -> None:
    body = {"context": {"note": "x"}, "events": ["x" * 1000] * 1000, "event_source_id": "nowhere"}

    assert agency.call("/v1/log_event", body).status_code == 404
    assert error(agency.call("/v1/log_event", body, sent=b"[]")) == "request_signature_digest_mismatch"


def test_a_buyer_of_an_older_release_signs_as_that_release_does(agency: Agency) -> None:
    assert agency.call(key_id="agency-of-3.1", signing_profile_version="3.1").status_code == 200


@pytest.mark.anyio
@pytest.mark.parametrize("protocol", [Protocol.MCP, Protocol.A2A], ids=["mcp", "a2a"])
@pytest.mark.parametrize("release", ["3.1", "3.2"])
async def test_the_official_client_signs_what_it_is_told_to(agency: Agency, protocol: Protocol, release: str) -> None:
    uri = f"{agency.server.url}/mcp" if protocol is Protocol.MCP else agency.server.url
    config = AgentConfig(id="seller", agent_uri=uri, protocol=protocol, auth_token=agency.key)
    kid = {"3.1": "agency-of-3.1", "3.2": f"agency-{agency.alg}"}[release]
    signing = SigningConfig(private_key=KEYS[agency.alg], key_id=kid, alg=agency.alg)
    source = unique_key()
    sources = {"account": {"account_id": "default"}, "event_sources": [{"event_source_id": source}]}
    batch = {"event_source_id": source, "events": [order("signed_1")]}

    async with ADCPClient(config, signing=signing, adcp_version=release) as client:
        capabilities = await client.get_adcp_capabilities(GetAdcpCapabilitiesRequest())
        synced = await client.sync_event_sources(
            SyncEventSourcesRequest.model_validate(sources | {"idempotency_key": unique_key()})
        )
        logged = await client.log_event(LogEventRequest.model_validate(batch | {"idempotency_key": unique_key()}))

    assert capabilities.success, capabilities.error
    assert synced.success, synced.error
    assert logged.success, logged.error
    assert logged.data.events_processed == 1


@pytest.mark.anyio
@pytest.mark.parametrize("protocol", [Protocol.MCP, Protocol.A2A], ids=["mcp", "a2a"])
async def test_the_official_client_without_the_key_gets_nowhere(agency: Agency, protocol: Protocol) -> None:
    uri = f"{agency.server.url}/mcp" if protocol is Protocol.MCP else agency.server.url
    config = AgentConfig(id="seller", agent_uri=uri, protocol=protocol, auth_token=agency.key)

    async with ADCPClient(config) as client:
        listed = await client.list_accounts(ListAccountsRequest())

    assert not listed.success


@pytest.mark.parametrize("release", DIALECTS)
def test_the_capabilities_say_what_must_be_signed_to_those_who_must(agency: Agency, release: str | None) -> None:
    body = {"adcp_version": release} if release else {}
    asked = json.dumps(body).encode()

    mine = agency.post("/v1/get_adcp_capabilities", asked, {"content-type": "application/json"}).json()
    others = agency.server.call("get_adcp_capabilities", **body).json()

    refuse_unless_valid("get_adcp_capabilities", mine, release)
    posture = mine["request_signing"]
    assert posture["covers_content_digest"] == "required"
    assert {"log_event", "list_accounts"} < set(posture["required_for"]) < set(posture["supported_for"])
    assert "get_adcp_capabilities" not in posture["required_for"]
    assert "request_signing" not in others


def test_a_signature_that_need_not_be_there_must_hold_all_the_same(agency: Agency) -> None:
    assert agency.call("/v1/get_adcp_capabilities").status_code == 200
    assert error(agency.call("/v1/get_adcp_capabilities", key_id="nobody")) == "request_signature_key_unknown"


def test_other_keys_go_on_without(agency: Agency) -> None:
    assert agency.server.call("list_accounts").status_code == 200


def test_a_key_whose_requests_are_signed_opens_no_console(agency: Agency) -> None:
    url, headers = agency.server.url, {"Origin": agency.server.url}
    signed_in = HTTP.post(f"{url}/console/sign-in", data={"key": agency.key}, headers=headers)
    keyed = {"Authorization": f"Bearer {agency.key}"}
    unsigned = HTTP.get(f"{url}/console/server?format=json", headers=keyed)
    signature = agency.signature("GET", "/console/server?format=json", {})
    signed = HTTP.get(f"{url}/console/server?format=json", headers=keyed | signature)

    assert (signed_in.status_code, unsigned.status_code, signed.status_code) == (401, 401, 200)
    assert "must be signed" in signed_in.text
