"""Checks of single events: partial failures, duplicates, test events, times, types, identifiers, money."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from postback.suite.check import check, expect
from postback.suite.seller import Answer, Seller, event, fresh
from postback.times import rfc3339

__all__: list[str] = []

_CLEAR_EMAIL = "suite.person@shop.example"


def _fails(seller: Seller, wrong: dict[str, Any], *codes: str, source: str | None = None) -> Answer:
    """See that one event fails alone, by one of these codes."""
    good = event(fresh("good"))
    answer = seller.log(good, wrong, source=source)
    found = [failure.get("code") for failure in answer.failures]
    expect(len(found) == 1 and found[0] in codes, f"one partial failure, {' or '.join(codes)}", answer.body)
    expect(answer.body.get("events_processed") == 1, "the other event to be processed", answer.body)
    return answer


def _accepted(seller: Seller, *events: dict[str, Any], **arguments: Any) -> Answer:
    answer = seller.log(*events, **arguments)
    expect(not answer.failures and not answer.error, "no failure", answer.body)
    expect(answer.body.get("events_received") == len(events), f"{len(events)} received", answer.body)
    return answer


@check("partial/one-bad-event", "required", "One bad event fails alone; received is processed plus failed.")
def one_bad(seller: Seller) -> None:
    answer = _fails(seller, event(fresh("bad"), event_time="yesterday"), "INVALID_EVENT_TIME", *_SCHEMA)
    expect(answer.body.get("events_received") == 2, "2 received", answer.body)


@check("partial/names-the-event", "required", "A partial failure carries the event's event_id, a code and a message.")
def names_the_event(seller: Seller) -> None:
    wrong = event(fresh("named"), event_time="yesterday")
    failure = seller.log(wrong).failures[:1]
    told = failure[0] if failure else {}
    expect(told.get("event_id") == wrong["event_id"] and told.get("code") and told.get("message"), "all three", failure)


@check("partial/names-the-place", "recommended", "A partial failure says the event's index and the field.")
def names_the_place(seller: Seller) -> None:
    failures = seller.log(event(fresh("a")), event(fresh("b"), event_time=7)).failures
    told = failures[0] if failures else {}
    expect(told.get("index") == 1 and told.get("field") == "events[1].event_time", "index and field", failures)


@check("partial/unreadable-event", "recommended", "An event without an id is named by its place, as index:1.")
def unreadable(seller: Seller) -> None:
    failures = seller.log(event(fresh("a")), ["not", "an", "event"]).failures
    expect([failure.get("event_id") for failure in failures] == ["index:1"], "event_id index:1", failures)


@check("partial/all-failed", "recommended", "A batch of which every event failed is answered as a success.")
def all_failed(seller: Seller) -> None:
    answer = seller.log(event(fresh("a"), event_time=1), event(fresh("b"), event_time=2))
    expect(answer.body.get("events_processed") == 0 and len(answer.failures) == 2, "2 partial failures", answer.body)


@check("duplicates/same-batch", "required", "An event twice in one batch is accepted.")
def same_batch(seller: Seller) -> None:
    twice = event(fresh("twice"))
    _accepted(seller, twice, twice)


@check("duplicates/later-batch", "required", "An event that was logged before is accepted silently.")
def later_batch(seller: Seller) -> None:
    known = event(fresh("known"))
    _accepted(seller, known)
    answer = _accepted(seller, known, event(fresh("new")))
    expect(answer.body.get("events_processed") in {1, 2}, "1 or 2 processed", answer.body)


@check("duplicates/counted-as-processed", "recommended", "A duplicate counts as processed, so the counts add up.")
def counted(seller: Seller) -> None:
    known = event(fresh("known"))
    answer = _accepted(seller, known, known)
    expect(answer.body.get("events_processed") == 2, "2 processed", answer.body)


@check("duplicates/other-type", "required", "The same event_id of another event_type is another event.")
def other_type(seller: Seller) -> None:
    name = fresh("shared")
    _accepted(seller, event(name), event(name, event_type="lead", custom_data=None))


@check("duplicates/failed-event", "required", "An event that failed may be corrected under its event_id.")
def corrected(seller: Seller) -> None:
    name = fresh("corrected")
    seller.log(event(name, event_time="yesterday"))
    _accepted(seller, event(name))


@check("test-events/same-answer", "required", "Test events are judged as live ones are.")
def test_events(seller: Seller) -> None:
    good, bad = event(fresh("t")), event(fresh("t"), event_time="yesterday")
    answer = seller.log(good, bad, test_event_code="SUITE")
    expect(len(answer.failures) == 1 and answer.body.get("events_processed") == 1, "one failure", answer.body)


@check("test-events/apart", "required", "A test event does not take the place of the live one.")
def apart(seller: Seller) -> None:
    trial = event(fresh("trial"))
    _accepted(seller, trial, test_event_code="SUITE")
    _accepted(seller, trial)


@check("time/naive", "required", "A time without an offset fails.")
def naive(seller: Seller) -> None:
    _fails(seller, event(fresh("t"), event_time="2026-01-15T14:30:00"), "INVALID_EVENT_TIME", *_SCHEMA)


@check("time/epoch", "required", "A time as a number fails.")
def epoch(seller: Seller) -> None:
    _fails(seller, event(fresh("t"), event_time=1_768_487_400), "INVALID_EVENT_TIME", *_SCHEMA)


@check("time/impossible", "required", "A date that doesn't exist fails.")
def impossible(seller: Seller) -> None:
    _fails(seller, event(fresh("t"), event_time="2026-02-30T14:30:00Z"), "INVALID_EVENT_TIME", *_SCHEMA)


@check("time/offset", "required", "A time with another offset than UTC's is accepted.")
def offset(seller: Seller) -> None:
    there = datetime.now(UTC) - timedelta(hours=2)
    local = (there + timedelta(hours=5, minutes=30)).strftime("%Y-%m-%dT%H:%M:%S+05:30")
    _accepted(seller, event(fresh("t"), event_time=local))


@check("time/too-old", "recommended", "An event of ten years ago fails, and the message names the bound.")
def too_old(seller: Seller) -> None:
    then = rfc3339(datetime.now(UTC) - timedelta(days=3650))
    _fails(seller, event(fresh("t"), event_time=then), "INVALID_EVENT_TIME", *_SCHEMA)


@check("types/unknown", "required", "An unknown event_type fails.")
def unknown_type(seller: Seller) -> None:
    _fails(seller, event(fresh("t"), event_type="made_coffee"), "INVALID_EVENT_TYPE", *_SCHEMA)


@check("types/not-of-the-source", "required", "An event_type that the source doesn't take fails.")
def not_of_the_source(seller: Seller) -> None:
    narrow = f"{seller.source}-purchases"
    seller.call("sync_event_sources", event_sources=[{"event_source_id": narrow, "event_types": ["purchase"]}])
    _fails(seller, event(fresh("t"), event_type="lead"), "INVALID_EVENT_TYPE", *_SCHEMA, source=narrow)


@check("types/custom", "required", "A custom event without custom_event_name fails; with it, it is accepted.")
def custom(seller: Seller) -> None:
    _fails(seller, event(fresh("t"), event_type="custom"), *_SCHEMA)
    _accepted(seller, event(fresh("t"), event_type="custom", custom_event_name="wishlist_shared"))


@check("types/refund", "required", "A refund is an event as any other.")
def refund(seller: Seller) -> None:
    _accepted(seller, event(fresh("t"), event_type="refund"))


@check("identifiers/malformed-hash", "required", "A hashed_email that is no SHA-256 is not accepted as it is.")
def malformed_hash(seller: Seller) -> None:
    answer = seller.log(event(fresh("i"), user_match={"hashed_email": "not-a-hash"}))
    expect(answer.failures or answer.body.get("warnings"), "a failure or a warning", answer.body)


@check("identifiers/clear-email", "recommended", "An e-mail address in the clear fails the event, and is not repeated.")
def clear_email(seller: Seller) -> None:
    answer = _fails(seller, event(fresh("i"), user_match={"hashed_email": _CLEAR_EMAIL}), *_SCHEMA)
    expect(_CLEAR_EMAIL not in str(answer.body), "an answer without the address", answer.body)


@check("identifiers/none", "recommended", "An event without user_match is accepted.")
def no_identifier(seller: Seller) -> None:
    _accepted(seller, event(fresh("i"), user_match=None))


@check("identifiers/empty", "recommended", "An event whose user_match has nothing to match by fails.")
def empty_match(seller: Seller) -> None:
    _fails(seller, event(fresh("i"), user_match={}), "MISSING_USER_MATCH", *_SCHEMA)


@check("money/unknown-currency", "recommended", "A currency that ISO 4217 doesn't know fails.")
def unknown_currency(seller: Seller) -> None:
    _fails(seller, event(fresh("m"), custom_data={"value": 1, "currency": "ZZZ"}), *_SCHEMA)


@check("money/negative-value", "recommended", "A negative value fails.")
def negative_value(seller: Seller) -> None:
    _fails(seller, event(fresh("m"), custom_data={"value": -1, "currency": "USD"}), *_SCHEMA)


@check("money/value-without-currency", "recommended", "A value without a currency is accepted with a warning.")
def value_without_currency(seller: Seller) -> None:
    answer = _accepted(seller, event(fresh("m"), custom_data={"value": 1}))
    expect(answer.body.get("warnings"), "a warning", answer.body)


_SCHEMA = ("INVALID_REQUEST", "VALIDATION_ERROR")
