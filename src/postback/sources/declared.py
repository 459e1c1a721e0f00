"""What a buyer, or the seller's configuration, declares about an event source, and whether it can be used."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches
from itertools import chain, islice
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from postback.hostnames import normal_hostname
from postback.protocol.currencies import CURRENCIES
from postback.protocol.enums import ACTION_SOURCES, SURFACE_CATEGORIES
from postback.shapes import departure

__all__ = ["MAX_PROBLEMS", "DeclaredSource", "Problem", "normalised", "problems", "structure_problem"]

MAX_PROBLEMS = 20
"""How many things that are wrong with one declaration are told at a time: to suggest a correction takes a while."""

_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_Words = Annotated[tuple[str, ...], Meta(min_length=1)]


class DeclaredSource(msgspec.Struct, frozen=True, kw_only=True):
    """The declared members of an event source (media-buy/sync-event-sources-request.json)."""

    event_source_id: Annotated[str, Meta(min_length=1, max_length=256)]
    name: str | None = None
    event_types: _Words | None = None
    value_currencies: _Words | None = None
    action_source: str | None = None
    allowed_domains: _Words | None = None
    surface: dict[str, Any] | None = None


Declared = TypeVar("Declared", bound=DeclaredSource)


class _Surface(msgspec.Struct):
    """core/event-surface.json, its category unchecked."""

    category: str
    property_type: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    namespace: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    property_id: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    ext: dict[str, Any] | None = None


class Problem(NamedTuple):
    """Something wrong with a declaration.

    Attributes:
        field: Path within the declaration, as ``event_types[1]``; empty for the declaration itself.
        message: A sentence that says what is wrong; it never repeats the value.
        suggestion: What to do.
    """

    field: str
    message: str
    suggestion: str


def problems(declared: DeclaredSource, event_types: Sequence[str]) -> list[Problem]:
    """What is wrong with a declaration, the first MAX_PROBLEMS things.

    Args:
        declared: A declaration of the right types.
        event_types: The event types that may be named.
    """
    found = chain(
        _control_characters(declared),
        _unknown_words("event_types", declared.event_types, event_types, "an AdCP event type"),
        _unknown_words("value_currencies", declared.value_currencies, CURRENCIES, "an ISO 4217 currency code"),
        _bad_domains(declared.allowed_domains or ()),
        _unknown_word("action_source", declared.action_source, ACTION_SOURCES),
        _bad_surface(declared.surface),
    )
    return list(islice(found, MAX_PROBLEMS))


def normalised(declared: Declared) -> Declared:
    """A declaration without problems, in the form in which it is kept: comparable host names, nothing listed twice."""
    domains = declared.allowed_domains and [normal_hostname(domain) or domain for domain in declared.allowed_domains]
    return msgspec.structs.replace(
        declared,
        event_types=_distinct(declared.event_types),
        value_currencies=_distinct(declared.value_currencies),
        allowed_domains=_distinct(domains),
    )


def structure_problem(error: msgspec.ValidationError, within: str = "") -> Problem:
    """What msgspec found wrong with a declaration's types and bounds, in our words."""
    path, wrong = departure(str(error))
    if unknown := re.fullmatch(r"object contains unknown field (.*)", wrong):
        path, wrong = f"{path}.{unknown[1]}", "is not known here"
    elif wrong != "is required":
        wrong = f"is wrong: {wrong}"
    field = f"{within}{path}".lstrip(".")
    return Problem(field, f"{field or 'The entry'} {wrong}.", f"Correct {field or 'the entry'}.")


def _control_characters(declared: DeclaredSource) -> Iterator[Problem]:
    for field in ("event_source_id", "name"):
        if _CONTROL_CHARACTERS.search(getattr(declared, field) or ""):
            yield Problem(field, f"{field} holds a control character.", f"Use printable characters in {field}.")


def _unknown_words(field: str, words: Sequence[str] | None, known: Collection[str], kind: str) -> Iterator[Problem]:
    for index, word in enumerate(words or ()):
        if word not in known:
            yield Problem(f"{field}[{index}]", f"{field}[{index}] is not {kind}.", _closest(word, known))


def _unknown_word(field: str, word: str | None, known: Sequence[str]) -> Iterator[Problem]:
    if word is not None and word not in known:
        yield Problem(field, f"{field} is not one of AdCP's: {', '.join(known)}.", _closest(word, known))


def _bad_domains(domains: Sequence[str]) -> Iterator[Problem]:
    for index, domain in enumerate(domains):
        if normal_hostname(domain) is None:
            yield Problem(
                f"allowed_domains[{index}]",
                f"allowed_domains[{index}] is not a host name.",
                "Give the host alone, as shop.example: no scheme, port, path or wildcard. Its subdomains are included.",
            )


def _bad_surface(surface: dict[str, Any] | None) -> Iterator[Problem]:
    if surface is None:
        return
    try:
        category = msgspec.convert(surface, _Surface).category
    except msgspec.ValidationError as error:
        yield structure_problem(error, "surface")
    else:
        yield from _unknown_word("surface.category", category, SURFACE_CATEGORIES)


def _closest(word: str, known: Collection[str]) -> str:
    folded = {k.lower(): k for k in known}
    match = get_close_matches(word[:64].strip().lower(), folded, n=1)
    return f'Did you mean "{folded[match[0]]}"?' if match else "Use one of the values that the AdCP schema lists."


def _distinct(words: Sequence[str] | None) -> tuple[str, ...] | None:
    return tuple(dict.fromkeys(words)) if words else None
