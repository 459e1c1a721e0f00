"""Checks of error codes, which differ between the releases of AdCP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from postback.conformance.answer import SellerAnswer
from postback.conformance.check import SCHEMA_CODES, check, expect
from postback.conformance.seller import Seller, event, fresh, too_many_events
from postback.protocol.error_codes import code_for
from postback.protocol.releases import RELEASES
from postback.protocol.timestamps import rfc3339

__all__: list[str] = []


@check("error-codes/unknown-source", "required", "An unknown event source fails with the pinned release's code.")
def unknown_source(seller: Seller) -> None:
    for pinned in seller.in_every_release():
        answer = pinned.log(event(fresh("u")), source=fresh("no"))
        _expect_code(pinned, answer, answer.code, "EVENT_SOURCE_NOT_FOUND")


@check("error-codes/too-many-events", "required", "Too many events fail with the pinned release's code.")
def too_many(seller: Seller) -> None:
    for pinned in seller.in_every_release():
        answer = pinned.log(*too_many_events())
        _expect_code(pinned, answer, answer.code, "BATCH_TOO_LARGE", *SCHEMA_CODES)


@check("error-codes/event-type", "required", "A type that the source doesn't accept fails with the release's code.")
def event_type(seller: Seller) -> None:
    for pinned in seller.in_every_release():
        answer = pinned.log(event(fresh("u"), event_type="lead"), source=seller.purchases)
        _expect_code(pinned, answer, _event_code(answer), "INVALID_EVENT_TYPE")


@check("error-codes/event-time", "recommended", "A time ten years ago fails with the pinned release's code.")
def event_time(seller: Seller) -> None:
    then = rfc3339(datetime.now(UTC) - timedelta(days=3650))
    for pinned in seller.in_every_release():
        answer = pinned.log(event(fresh("u"), event_time=then))
        _expect_code(pinned, answer, _event_code(answer), "INVALID_EVENT_TIME")


@check("error-codes/no-identifier", "required", "A user_match without identifiers fails with the release's code.")
def no_identifier(seller: Seller) -> None:
    for pinned in seller.in_every_release():
        answer = pinned.log(event(fresh("u"), user_match={}))
        code = answer.code if answer.failed else _event_code(answer)
        _expect_code(pinned, answer, code, "MISSING_USER_MATCH", *SCHEMA_CODES)


def _expect_code(seller: Seller, answer: SellerAnswer, code: str, reason: str, *others: str) -> None:
    """Check that a code is the pinned release's; without a pin it may be any release's."""
    releases = (seller.release,) if seller.release else (None, *RELEASES)
    codes = list(dict.fromkeys([*(code_for(reason, release) for release in releases), *others]))
    expect(code in codes, f"{' or '.join(codes)} when {seller.release or 'nothing'} is pinned", answer.body)


def _event_code(answer: SellerAnswer) -> str:
    """The error code of a rejected event."""
    return str(answer.failures[0].get("code")) if answer.failures else ""
