"""AdCP's own test vectors of request signing, as its Python SDK carries them.

Nothing of the folder is passed over but what is listed here with its reason, and what is no request at all:
``protocol-method-names.json`` is about protocol methods, of which this server declares none, and
``body-integrity-policy.json`` about policies, of which it has the one: a body is always signed, and an API key is no
substitute for a signature.
"""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.clocks import Hands

from postback.auth.principal import Principal
from postback.auth.signatures.keys import SigningKeys, read_signing_keys
from postback.auth.signatures.nonces import MAX_NONCES
from postback.auth.signatures.target import canonical_target
from postback.auth.signatures.verifier import Operation, Signatures
from postback.errors import SignatureRefused, StartupError
from postback.tasks.registry import offered
from postback.threads import ThreadPool
from postback.transports import a2a

FOLDER = Path(str(resources.files("adcp") / "_compliance" / "3.2.4" / "test-vectors" / "request-signing"))
KEYS = {key["kid"]: key for key in json.loads((FOLDER / "keys.json").read_text())["keys"]}
CALLER = Principal("key_of_the_vectors", ())

VERIFIED = "verified"
LATER = (7, "9a", 10, 12, 13)
"""The steps of the checklist after the one that looks at what is covered."""

REVOKED = "a key is revoked by taking it out of the file of keys: there is no list"
FORBIDDEN = "no server of AdCP 3.2 may forbid that the body is signed"
OTHER_POSTURE = "get_products must be signed, too"
HARDENING = "AdCP 3.2 recommends it only: the parts that this server doesn't read may say anything"
EXCLUDED = {
    "negative/017-key-revoked": REVOKED,
    "profile-3.2/negative/017-key-revoked": REVOKED,
    "negative/018-digest-covered-when-forbidden": FORBIDDEN,
    "a2a/positive/003-unsigned-sendmessage-get-products-not-required": OTHER_POSTURE,
    "a2a/positive/004-unsigned-decoy-text-and-metadata": OTHER_POSTURE,
    "a2a/positive/005-unsigned-alias-skill-not-in-lists": OTHER_POSTURE,
    "a2a/positive/006-unsigned-message-send-v0-3-legacy-parameters": OTHER_POSTURE,
    "a2a/negative/010-filepart-present": HARDENING,
    "a2a/negative/011-part-with-text-and-data": HARDENING,
    "a2a/negative/013-v0-3-kind-mismatch": HARDENING,
    "a2a/negative/019-raw-part-present": HARDENING,
    "a2a/negative/020-case-variant-member-name": HARDENING,
    "a2a/negative/022-unsigned-http-json-message-send-required": "this binding of A2A is not offered",
}
REFUSED_AT_START = {
    f"{folder}negative/{name}"
    for folder in ("", "profile-3.2/")
    for name in ("009-key-ops-missing-verify", "025-jwk-alg-crv-mismatch")
}


def vectors() -> list[Any]:
    return [
        pytest.param(json.loads(file.read_text()), name, id=name)
        for file in sorted(FOLDER.glob("**/[0-9]*.json"))
        if (name := str(file.relative_to(FOLDER).with_suffix(""))) not in EXCLUDED | dict.fromkeys(REFUSED_AT_START)
    ]


def keys_of(vector: dict[str, Any], folder: Path) -> SigningKeys:
    """The vector's keys, as an operator puts them into the file."""
    jwks = vector.get("jwks_override", {}).get("keys") or [KEYS[kid] for kid in vector.get("jwks_ref", ())]
    bound = {"postback_key_id": CALLER.key_id, "postback_adcp_version": vector.get("signing_profile_version", "3.2")}
    file = folder / "keys.json"
    file.write_text(json.dumps({"keys": [jwk | bound for jwk in jwks]}))
    return read_signing_keys(file, {CALLER.key_id})


def scope_of(request: dict[str, Any]) -> dict[str, Any]:
    """The request, as the server gets it from the wire."""
    url = urlsplit(request["url"])
    headers = {"host": url.netloc} | {name.lower(): value for name, value in request["headers"].items()}
    return {
        "type": "http",
        "method": request["method"],
        "scheme": url.scheme,
        "path": url.path,
        "raw_path": url.path.encode(),
        "query_string": url.query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }


async def outcome(signatures: Signatures, request: dict[str, Any], operation: Operation) -> str:
    try:
        await signatures.verify(scope_of(request), request["body"].encode(), CALLER, operation)
    except SignatureRefused as refusal:
        return str((refusal.details or {})["signature_error"])
    return VERIFIED


def operation_of(vector: dict[str, Any], name: str) -> Operation:
    return a2a.operation if name.startswith("a2a/") else lambda _: urlsplit(vector["request"]["url"]).path


def public_url_of(vector: dict[str, Any]) -> str:
    """Under which URL the server is reached: the one that a right signature has."""
    signed = re.search(r'"@target-uri": (https://[^/]+)', vector.get("expected_signature_base", ""))
    return signed[1] if signed else "https://seller.example.com"


def wanted(vector: dict[str, Any]) -> str:
    """What the vector says; but AdCP 3.1 had sellers who let a body be unsigned, and this server isn't one."""
    said: str = vector["expected_outcome"].get("error_code", VERIFIED)
    bodiless = vector["verifier_capability"]["covers_content_digest"] == "either"
    if (
        bodiless
        and vector["expected_outcome"].get("failed_step", 13) in LATER
        and said != "request_target_uri_malformed"
    ):
        return "request_signature_components_incomplete"
    return said


@pytest.mark.anyio
@pytest.mark.parametrize(("vector", "name"), vectors())
async def test_a_request_has_the_outcome_that_its_vector_says(
    vector: dict[str, Any], name: str, tmp_path: Path
) -> None:
    state = vector.get("test_harness_state", {})
    signatures = Signatures(
        keys_of(vector, tmp_path),
        public_url_of(vector),
        offered(sandbox=False),
        ThreadPool("compute", 1),
        clock=Hands(vector["reference_now"]).clock,
        nonces_per_key=0 if "replay_cache_per_keyid_cap_hit" in state else MAX_NONCES,
    )
    operation = operation_of(vector, name)
    if "replay_cache_entries" in state:
        await outcome(signatures, vector["request"], operation)

    assert await outcome(signatures, vector["request"], operation) == wanted(vector)


@pytest.mark.parametrize("name", sorted(REFUSED_AT_START))
def test_a_key_that_is_not_for_signing_requests_is_refused_at_start(name: str, tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="must be an Ed25519 or P-256 public key for signing requests"):
        keys_of(json.loads((FOLDER / f"{name}.json").read_text()), tmp_path)


CASES = json.loads((FOLDER / "canonicalization.json").read_text())["cases"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_url_has_the_canonical_form_that_its_vector_says(case: dict[str, Any]) -> None:
    if case.get("reject"):
        with pytest.raises(ValueError, match=r".*"):
            canonical_target(case["input_url"])
        return

    target = canonical_target(case["input_url"])

    assert (target.uri, target.authority) == (case["expected_target_uri"], case["expected_authority"])


def test_every_exclusion_is_of_a_vector() -> None:
    assert all((FOLDER / f"{name}.json").is_file() for name in EXCLUDED)
