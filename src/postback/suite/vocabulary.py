"""Checks of error codes: each release of AdCP has words of its own for the same thing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from postback.protocol.releases import RELEASES
from postback.protocol.vocabulary import code_for
from postback.suite.answer import Answer
from postback.suite.check import SCHEMA_CODES, check, expect
from postback.suite.seller import Seller, event, fresh, too_many_events
from postback.times import rfc3339

__all__: list[str] = []


@check("vocabulary/unknown-source", "required", "An unknown source fails by the word of the release that is pinned.")
def unknown_source(seller: Seller) -> None:
    for spoken in seller.in_every_release():
        answer = spoken.log(event(fresh("u")), source=fresh("no"))
        _says(spoken, answer, answer.code, "EVENT_SOURCE_NOT_FOUND")


@check("vocabulary/too-many-events", "required", "Too many events fail by the word of the release that is pinned.")
def too_many(seller: Seller) -> None:
    for spoken in seller.in_every_release():
        answer = spoken.log(*too_many_events())
        _says(spoken, answer, answer.code, "BATCH_TOO_LARGE", *SCHEMA_CODES)


@check("vocabulary/event-type", "required", "A type that the source doesn't take fails by the word of the release.")
def event_type(seller: Seller) -> None:
    for spoken in seller.in_every_release():
        answer = spoken.log(event(fresh("u"), event_type="lead"), source=seller.purchases)
        _says(spoken, answer, _code_of_event(answer), "INVALID_EVENT_TYPE")


@check("vocabulary/event-time", "recommended", "A time of ten years ago fails by the word of the release.")
def event_time(seller: Seller) -> None:
    then = rfc3339(datetime.now(UTC) - timedelta(days=3650))
    for spoken in seller.in_every_release():
        answer = spoken.log(event(fresh("u"), event_time=then))
        _says(spoken, answer, _code_of_event(answer), "INVALID_EVENT_TIME")


@check("vocabulary/no-identifier", "required", "A user_match that names nobody fails by the word of the release.")
def no_identifier(seller: Seller) -> None:
    for spoken in seller.in_every_release():
        answer = spoken.log(event(fresh("u"), user_match={}))
        code = answer.code if answer.failed else _code_of_event(answer)
        _says(spoken, answer, code, "MISSING_USER_MATCH", *SCHEMA_CODES)


def _says(seller: Seller, answer: Answer, code: str, reason: str, *others: str) -> None:
    """See that a code is the pinned release's word; without a pin it may be any release's."""
    releases = (seller.release,) if seller.release else (None, *RELEASES)
    words = list(dict.fromkeys([*(code_for(reason, release) for release in releases), *others]))
    expect(code in words, f"{' or '.join(words)} when {seller.release or 'nothing'} is pinned", answer.body)


def _code_of_event(answer: Answer) -> str:
    """The code by which one event failed."""
    return str(answer.failures[0].get("code")) if answer.failures else ""
