"""Checks of single events: partial failures, duplicates, test events, times, types, identifiers, money."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from postback.conformance.answer import SellerAnswer
from postback.conformance.check import SCHEMA_CODES, Skipped, check, expect
from postback.conformance.seller import Seller, event, fresh
from postback.protocol.timestamps import rfc3339

__all__: list[str] = []

_UNHASHED_EMAIL = "suite.person@shop.example"
_TIME_CODES = ("INVALID_EVENT_TIME", *SCHEMA_CODES)


def _fails(seller: Seller, wrong: dict[str, Any], *codes: str) -> SellerAnswer:
    """Check that an event fails alone; if the schemas forbid it, the whole call may fail instead."""
    answer = seller.log(event(fresh("good")), wrong)
    if answer.failed and answer.code in codes and answer.code in SCHEMA_CODES:
        return answer
    found = [failure.get("code") for failure in answer.failures]
    expect(len(found) == 1 and found[0] in codes, f"one partial failure, {' or '.join(codes)}", answer.body)
    expect(answer.counts == (2, 1), "2 received and the other event processed", answer.body)
    return answer


def _accepted(seller: Seller, *events: dict[str, Any]) -> SellerAnswer:
    answer = seller.log(*events)
    expect(not answer.failed and not answer.failures, "no failure", answer.body)
    expect(answer.body.get("events_received") == len(events), f"{len(events)} received", answer.body)
    return answer


def _require_type(seller: Seller, event_type: str) -> None:
    if not seller.accepts(event_type):
        raise Skipped(f"the server doesn't accept {event_type} events")


def _unaccepted(name: str) -> dict[str, Any]:
    """An event that the schemas allow and the source of purchases doesn't accept."""
    return event(fresh(name), event_type="lead")


def _recently() -> datetime:
    """A valid time, so that a check changes only one thing."""
    return datetime.now(UTC) - timedelta(hours=2)


def _short_month() -> datetime:
    """A day of the latest month without a 31st."""
    day = datetime.now(UTC).replace(day=1) - timedelta(days=1)
    return day if day.day < 31 else day.replace(day=1) - timedelta(days=1)


@check("partial/one-bad-event", "required", "One bad event fails alone; events_received is processed plus failed.")
def one_bad(seller: Seller) -> None:
    answer = seller.log(event(fresh("good")), _unaccepted("bad"), event(fresh("good")), source=seller.purchases)
    expect(len(answer.failures) == 1, "one partial failure", answer.body)
    expect(answer.counts == (3, 2), "3 received, 2 processed", answer.body)


@check("partial/names-the-event", "required", "A partial failure has the event's event_id, a code and a message.")
def names_the_event(seller: Seller) -> None:
    wrong = _unaccepted("named")
    answer = seller.log(wrong, source=seller.purchases)
    failure = answer.failures[0] if answer.failures else {}
    named = failure.get("event_id") == wrong["event_id"]
    expect(named and failure.get("code") and failure.get("message"), "event_id, code and message", answer.body)


@check("partial/names-the-place", "recommended", "A partial failure has the event's index and the field.")
def names_the_place(seller: Seller) -> None:
    answer = seller.log(event(fresh("a")), _unaccepted("b"), source=seller.purchases)
    places = [(failure.get("index"), failure.get("field")) for failure in answer.failures]
    expect(places == [(1, "events[1].event_type")], "index 1 and field events[1].event_type", answer.body)


@check(
    "partial/unreadable-event", "recommended", "An event without an id is named by its position, for example index:1."
)
def unreadable(seller: Seller) -> None:
    answer = seller.log(event(fresh("a")), ["not", "an", "event"])
    ids = [failure.get("event_id") for failure in answer.failures]
    expect(ids == ["index:1"], "event_id index:1", answer.body)


@check("partial/all-failed", "recommended", "A batch in which every event fails is a successful call.")
def all_failed(seller: Seller) -> None:
    answer = seller.log(_unaccepted("a"), _unaccepted("b"), source=seller.purchases)
    expect(answer.counts == (2, 0) and len(answer.failures) == 2, "2 partial failures", answer.body)


@check("duplicates/same-batch", "required", "An event twice in one batch is accepted.")
def same_batch(seller: Seller) -> None:
    twice = event(fresh("twice"))
    _accepted(seller, twice, twice)


@check("duplicates/later-batch", "required", "An event that was logged before is accepted.")
def later_batch(seller: Seller) -> None:
    known = event(fresh("known"))
    _accepted(seller, known)
    answer = _accepted(seller, known, event(fresh("new")))
    expect(answer.body.get("events_processed") in (1, 2), "1 or 2 processed", answer.body)


@check("duplicates/counted-as-processed", "recommended", "A duplicate counts as processed, so the counts add up.")
def counted(seller: Seller) -> None:
    known = event(fresh("known"))
    answer = _accepted(seller, known, known)
    expect(answer.body.get("events_processed") == 2, "2 processed", answer.body)


@check("duplicates/failed-event", "required", "An event that failed is accepted with the same event_id once corrected.")
def corrected(seller: Seller) -> None:
    name = fresh("corrected")
    seller.log(event(name, event_time="yesterday"))
    _accepted(seller, event(name))


@check("test-events/same-answer", "required", "Test events are validated like live ones.")
def test_events(seller: Seller) -> None:
    answer = seller.log(event(fresh("t")), _unaccepted("t"), source=seller.purchases, test_event_code="SUITE")
    expect(len(answer.failures) == 1 and answer.counts == (2, 1), "one failure", answer.body)


@check("time/naive", "required", "A time without an offset fails.")
def naive(seller: Seller) -> None:
    _fails(seller, event(fresh("t"), event_time=_recently().strftime("%Y-%m-%dT%H:%M:%S")), *_TIME_CODES)


@check("time/epoch", "required", "A time as a number fails.")
def epoch(seller: Seller) -> None:
    _fails(seller, event(fresh("t"), event_time=int(_recently().timestamp())), *_TIME_CODES)


@check("time/impossible", "required", "A date that doesn't exist fails.")
def impossible(seller: Seller) -> None:
    _fails(seller, event(fresh("t"), event_time=f"{_short_month():%Y-%m}-31T12:00:00Z"), *_TIME_CODES)


@check("time/offset", "required", "A time with an offset other than UTC is accepted.")
def offset(seller: Seller) -> None:
    local = (_recently() + timedelta(hours=5, minutes=30)).strftime("%Y-%m-%dT%H:%M:%S+05:30")
    _accepted(seller, event(fresh("t"), event_time=local))


@check("time/too-old", "recommended", "An event from ten years ago fails.")
def too_old(seller: Seller) -> None:
    then = rfc3339(datetime.now(UTC) - timedelta(days=3650))
    _fails(seller, event(fresh("t"), event_time=then), *_TIME_CODES)


@check("types/unknown", "required", "An unknown event_type fails.")
def unknown_type(seller: Seller) -> None:
    _fails(seller, event(fresh("t"), event_type="made_coffee"), "INVALID_EVENT_TYPE", *SCHEMA_CODES)


@check("types/not-of-the-source", "required", "An event_type that the source doesn't accept fails.")
def not_of_the_source(seller: Seller) -> None:
    answer = seller.log(_unaccepted("t"), source=seller.purchases)
    expect(len(answer.failures) == 1 and answer.counts == (1, 0), "one partial failure", answer.body)


@check("types/custom", "recommended", "A custom event without custom_event_name fails.")
def custom(seller: Seller) -> None:
    _require_type(seller, "custom")
    _fails(seller, event(fresh("t"), event_type="custom"), *SCHEMA_CODES)


@check("types/named-custom", "required", "A custom event with a custom_event_name is accepted.")
def named_custom(seller: Seller) -> None:
    _require_type(seller, "custom")
    _accepted(seller, event(fresh("t"), event_type="custom", custom_event_name="wishlist_shared"))


@check("types/refund", "required", "A refund is accepted like any other event.")
def refund(seller: Seller) -> None:
    _require_type(seller, "refund")
    _accepted(seller, event(fresh("t"), event_type="refund"))


@check("identifiers/malformed-hash", "required", "A hashed_email that isn't a SHA-256 fails or gets a warning.")
def malformed_hash(seller: Seller) -> None:
    answer = seller.log(event(fresh("i"), user_match={"hashed_email": "not-a-hash"}))
    reported = answer.failures or answer.body.get("warnings") or answer.code in SCHEMA_CODES
    expect(reported, "a failure or a warning", answer.body)


@check("identifiers/unhashed-email", "recommended", "An unhashed e-mail address fails the event, and is not echoed.")
def unhashed_email(seller: Seller) -> None:
    answer = _fails(seller, event(fresh("i"), user_match={"hashed_email": _UNHASHED_EMAIL}), *SCHEMA_CODES)
    expect(_UNHASHED_EMAIL not in str(answer.body), "a response without the address", answer.body)


@check("identifiers/none", "recommended", "An event without user_match is accepted.")
def no_identifier(seller: Seller) -> None:
    _accepted(seller, event(fresh("i"), user_match=None))


@check("identifiers/empty", "required", "An event whose user_match has no identifier fails.")
def empty_match(seller: Seller) -> None:
    _fails(seller, event(fresh("i"), user_match={}), "MISSING_USER_MATCH", *SCHEMA_CODES)


@check("money/unknown-currency", "recommended", "A currency that isn't an ISO 4217 code fails.")
def unknown_currency(seller: Seller) -> None:
    _fails(seller, event(fresh("m"), custom_data={"value": 1, "currency": "ZZZ"}), *SCHEMA_CODES)


@check("money/negative-value", "recommended", "A negative value fails.")
def negative_value(seller: Seller) -> None:
    _fails(seller, event(fresh("m"), custom_data={"value": -1, "currency": "USD"}), *SCHEMA_CODES)


@check("money/value-without-currency", "recommended", "A value without a currency is accepted with a warning.")
def value_without_currency(seller: Seller) -> None:
    answer = _accepted(seller, event(fresh("m"), custom_data={"value": 1}))
    expect(answer.body.get("warnings"), "a warning", answer.body)
