"""Checks of whole calls: keys, versions, context, sizes, idempotency."""

from __future__ import annotations

from uuid import uuid4

from postback.suite.check import Skipped, check, expect
from postback.suite.seller import Answer, Seller, event, fresh

__all__: list[str] = []

_UNKNOWN_SOURCE = {None: "EVENT_SOURCE_NOT_FOUND", "3.0": "REFERENCE_NOT_FOUND", "3.1": "REFERENCE_NOT_FOUND"}


@check("calls/no-key", "required", "A call without a key gets 401 and a WWW-Authenticate header.")
def no_key(seller: Seller) -> None:
    answer = seller.post("log_event", {"event_source_id": seller.source, "events": []}, Authorization="")
    expect(answer.status == 401 and "www-authenticate" in answer.headers, "401 and WWW-Authenticate", answer.status)


@check("calls/wrong-key", "required", "A wrong key gets 401 or 403, never an answer.")
def wrong_key(seller: Seller) -> None:
    answer = seller.post("sync_event_sources", {}, Authorization=f"Bearer {uuid4()}")
    expect(answer.status in {401, 403}, "401 or 403", answer.status)


@check("calls/context", "required", "context is echoed unchanged, in success and in failure.")
def context(seller: Seller) -> None:
    sent = {"trace": fresh("t"), "nested": {"list": [1, None, "ü"]}}
    for answer in (seller.log(event(fresh("c")), context=sent), seller.log(event("c"), source="nowhere", context=sent)):
        expect(answer.body.get("context") == sent, f"context {sent}", answer.body.get("context"))


@check("calls/version-echo", "recommended", "The release that was served is echoed in adcp_version.")
def version_echo(seller: Seller) -> None:
    if seller.release is None:
        raise Skipped("the server names no release")
    answer = seller.log(event(fresh("v")))
    expect(answer.body.get("adcp_version") == seller.release, seller.release, answer.body.get("adcp_version"))


@check("calls/version-unsupported", "required", "A pin of an unknown major version fails with VERSION_UNSUPPORTED.")
def version_unsupported(seller: Seller) -> None:
    answer = seller.call("get_adcp_capabilities", release="99.0")
    expect(answer.error.get("code") == "VERSION_UNSUPPORTED", "VERSION_UNSUPPORTED", answer.body)


@check("calls/error-shape", "required", "A failed call says code, message and recovery, in adcp_error and in errors.")
def error_shape(seller: Seller) -> None:
    answer = seller.log(event("e"), source="nowhere")
    told = answer.body.get("adcp_error") or {}
    expect(
        told.get("code") and told.get("message") and told.get("recovery") in {"transient", "correctable", "terminal"},
        "adcp_error with code, message and recovery",
        answer.body,
    )
    expect((answer.body.get("errors") or [{}])[0].get("code") == told["code"], "the same in errors[0]", answer.body)


@check("calls/unknown-source", "required", "An unknown source fails by the word of the release that is pinned.")
def unknown_source(seller: Seller) -> None:
    for release in (None, "3.0", "3.1", "3.2"):
        answer = seller.call("log_event", release=release, event_source_id=fresh("no"), events=[event(fresh("u"))])
        code = answer.error.get("code")
        if code == "VERSION_UNSUPPORTED":
            continue
        wanted = {_UNKNOWN_SOURCE.get(release, "REFERENCE_NOT_FOUND"), "REFERENCE_NOT_FOUND"}
        expect(code in wanted, f"{' or '.join(sorted(wanted))} when {release or 'nothing'} is pinned", answer.body)


@check("calls/no-events", "required", "A call without events fails.")
def no_events(seller: Seller) -> None:
    answer = seller.log()
    expect(answer.error.get("code"), "an error", answer.body)


@check("calls/ten-thousand-events", "required", "10,000 events fit into one call.")
def ten_thousand(seller: Seller) -> None:
    name = fresh("bulk")
    answer = seller.log(*(event(f"{name}-{number}") for number in range(10_000)))
    expect(_counts(answer) == (10_000, 10_000), "10,000 received and processed", answer.body)


@check("calls/too-many-events", "required", "10,001 events fail as a whole, and say how many are allowed.")
def too_many(seller: Seller) -> None:
    answer = seller.log(*(event(f"x{number}") for number in range(10_001)))
    code = answer.error.get("code")
    expect(code in {"BATCH_TOO_LARGE", "INVALID_REQUEST", "VALIDATION_ERROR"}, "BATCH_TOO_LARGE", answer.body)


@check("idempotency/replay", "required", "The same call with the same key gets the same answer, marked replayed.")
def replay(seller: Seller) -> None:
    key, sent = str(uuid4()), event(fresh("r"))
    first = seller.log(sent, idempotency_key=key, context={"n": 1})
    again = seller.log(sent, idempotency_key=key, context={"n": 2})
    expect(again.body.get("replayed") is True, "replayed: true", again.body)
    expect(_counts(first) == _counts(again), "the counts of the first answer", again.body)
    expect(again.body.get("context") == {"n": 2}, "the context of the second call", again.body)


@check("idempotency/conflict", "required", "Another call with a used key fails with IDEMPOTENCY_CONFLICT.")
def conflict(seller: Seller) -> None:
    key, secret = str(uuid4()), fresh("first")
    seller.log(event(secret), idempotency_key=key)
    answer = seller.log(event(fresh("second")), idempotency_key=key)
    expect(answer.error.get("code") == "IDEMPOTENCY_CONFLICT", "IDEMPOTENCY_CONFLICT", answer.body)
    expect(secret not in str(answer.body), "nothing of the first call", answer.body)


@check("idempotency/failure-frees-key", "required", "A call that failed may be corrected under its key.")
def failure_frees_key(seller: Seller) -> None:
    key = str(uuid4())
    seller.log(event(fresh("w")), source=fresh("nowhere"), idempotency_key=key)
    answer = seller.log(event(fresh("w")), idempotency_key=key)
    expect(_counts(answer) == (1, 1), "the corrected call to succeed", answer.body)


@check("idempotency/required", "required", "From AdCP 3.0 on, log_event without an idempotency_key fails.")
def key_required(seller: Seller) -> None:
    if seller.release is None:
        raise Skipped("the server names no release")
    said = {"adcp_version": seller.release, "event_source_id": seller.source, "events": [event(fresh("k"))]}
    answer = seller.post("log_event", said)
    expect(answer.error.get("code") in {"INVALID_REQUEST", "VALIDATION_ERROR"}, "INVALID_REQUEST", answer.body)


def _counts(answer: Answer) -> tuple[object, object]:
    return answer.body.get("events_received"), answer.body.get("events_processed")
