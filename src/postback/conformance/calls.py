"""Checks of whole calls: keys, versions, context, sizes, idempotency."""

from __future__ import annotations

from uuid import uuid4

from postback.conformance.check import Skipped, check, expect
from postback.conformance.seller import Seller, event, fresh, too_many_events

__all__: list[str] = []


@check("calls/no-key", "required", "A call without a key returns 401 and a WWW-Authenticate header.")
def no_key(seller: Seller) -> None:
    answer = seller.with_key(None).log(event(fresh("k")))
    expect(answer.status == 401 and "www-authenticate" in answer.headers, "401 and WWW-Authenticate", answer.status)


@check("calls/wrong-key", "required", "A wrong key returns 401 or 403, never a result.")
def wrong_key(seller: Seller) -> None:
    answer = seller.with_key(str(uuid4())).log(event(fresh("k")))
    expect(answer.status in (401, 403), "401 or 403", answer.status)


@check("calls/context", "required", "context is echoed unchanged, in success and failure.")
def context(seller: Seller) -> None:
    sent = {"trace": fresh("t"), "nested": {"list": [1, None, "ü"]}}
    for answer in (seller.log(event(fresh("c")), context=sent), seller.log(event("c"), source="nowhere", context=sent)):
        expect(answer.body.get("context") == sent, f"context {sent}", answer.body)


@check("calls/version-echo", "recommended", "From AdCP 3.1 on, the release that was served is echoed in adcp_version.")
def version_echo(seller: Seller) -> None:
    if seller.release in (None, "3.0"):
        raise Skipped("the server declares no release with adcp_version")
    answer = seller.log(event(fresh("v")))
    expect(answer.body.get("adcp_version") == seller.release, f"adcp_version {seller.release}", answer.body)


@check("calls/version-unsupported", "required", "A pin of an unknown major version fails with VERSION_UNSUPPORTED.")
def version_unsupported(seller: Seller) -> None:
    answer = seller.pinning("99.0").call("get_adcp_capabilities")
    expect(answer.code == "VERSION_UNSUPPORTED", "VERSION_UNSUPPORTED", answer.body)


@check("calls/error-shape", "required", "A failed call has code, message and recovery, in adcp_error and in errors.")
def error_shape(seller: Seller) -> None:
    answer = seller.log(event("e"), source="nowhere")
    error, errors = answer.body.get("adcp_error"), answer.body.get("errors")
    expect(
        isinstance(error, dict)
        and error.get("code")
        and error.get("message")
        and error.get("recovery") in ("transient", "correctable", "terminal"),
        "adcp_error with code, message and recovery",
        answer.body,
    )
    first = errors[0] if isinstance(errors, list) and errors else None
    expect(isinstance(first, dict) and first.get("code") == answer.code, "the same in errors[0]", answer.body)


@check("calls/no-events", "required", "A call without events fails.")
def no_events(seller: Seller) -> None:
    answer = seller.log()
    expect(answer.failed, "an error", answer.body)


@check("calls/ten-thousand-events", "required", "10,000 events fit into one call.")
def ten_thousand(seller: Seller) -> None:
    name = fresh("bulk")
    answer = seller.log(*(event(f"{name}-{number}") for number in range(10_000)))
    expect(answer.counts == (10_000, 10_000), "10,000 received and processed", answer.body)


@check("calls/too-many-events", "required", "10,001 events fail as a whole.")
def too_many(seller: Seller) -> None:
    answer = seller.log(*too_many_events())
    expect(answer.failed, "an error", answer.body)


@check("idempotency/replay", "required", "The same call with the same key returns the same response, marked replayed.")
def replay(seller: Seller) -> None:
    _require_idempotency(seller)
    key, sent = str(uuid4()), event(fresh("r"))
    first = seller.log(sent, idempotency_key=key, context={"n": 1})
    again = seller.log(sent, idempotency_key=key, context={"n": 2})
    expect(again.body.get("replayed") is True, "replayed: true", again.body)
    expect(first.counts == again.counts, f"the counts of the first response, {first.counts}", again.body)
    expect(again.body.get("context") == {"n": 2}, "the context of the second call", again.body)


@check("idempotency/conflict", "required", "A different call with a used key fails with IDEMPOTENCY_CONFLICT.")
def conflict(seller: Seller) -> None:
    _require_idempotency(seller)
    key, secret = str(uuid4()), fresh("first")
    seller.log(event(secret), idempotency_key=key)
    answer = seller.log(event(fresh("second")), idempotency_key=key)
    expect(answer.code == "IDEMPOTENCY_CONFLICT", "IDEMPOTENCY_CONFLICT", answer.body)
    expect(secret not in str(answer.body), "nothing of the first call", answer.body)


@check("idempotency/failure-frees-key", "required", "A failed call can be corrected with the same key.")
def failure_frees_key(seller: Seller) -> None:
    key = str(uuid4())
    seller.log(event(fresh("w")), source=fresh("nowhere"), idempotency_key=key)
    answer = seller.log(event(fresh("w")), idempotency_key=key)
    expect(answer.counts == (1, 1), "the corrected call to succeed", answer.body)


@check("idempotency/required", "required", "From AdCP 3.0 on, log_event without an idempotency_key fails.")
def key_required(seller: Seller) -> None:
    if seller.release is None:
        raise Skipped("the server declares no release")
    answer = seller.log(event(fresh("k")), idempotency_key=None)
    expect(answer.code in ("INVALID_REQUEST", "VALIDATION_ERROR"), "INVALID_REQUEST", answer.body)


def _require_idempotency(seller: Seller) -> None:
    if seller.declared("adcp", "idempotency", "supported") is False:
        raise Skipped("the server declares that it does not support idempotency keys")
