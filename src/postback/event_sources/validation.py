"""What a buyer or the seller's configuration declares about an event source, and its validation."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches
from itertools import chain, islice
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from postback.event_sources.tag_settings import DeclaredSourceExt, TagSettings, unusable_event_types
from postback.protocol.currencies import CURRENCIES
from postback.protocol.enums import ACTION_SOURCES, EVENT_TYPES, SURFACE_CATEGORIES
from postback.protocol.hostnames import normal_hostname
from postback.protocol.json_schema import published_as, word
from postback.protocol.type_errors import describe_validation_error

__all__ = [
    "MAX_ERRORS",
    "DeclarationError",
    "DeclaredEntry",
    "DeclaredSource",
    "SourceSettings",
    "declaration_errors",
    "normalized",
    "structure_error",
    "tag_errors",
]

MAX_ERRORS = 20
"""Errors reported per declaration. A limit, because finding a suggestion for each takes a while."""

_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NonEmptyList = Annotated[tuple[str, ...], Meta(min_length=1)]


class Surface(msgspec.Struct):
    """core/event-surface.json, its category unchecked."""

    category: Annotated[str, word(SURFACE_CATEGORIES, "Kind of the surface.")]
    property_type: (
        Annotated[str, Meta(min_length=1, max_length=128, description="Kind of an owned property.")] | None
    ) = None
    namespace: (
        Annotated[str, Meta(min_length=1, max_length=128, description="Whose identifiers property_id is from.")] | None
    ) = None
    property_id: (
        Annotated[str, Meta(min_length=1, max_length=256, description="Identifier of the property.")] | None
    ) = None
    ext: Annotated[dict[str, Any], Meta(description="Extensions.")] | None = None


_EventTypes = Annotated[
    list[Annotated[str, word(EVENT_TYPES, "An event type.")]],
    Meta(min_length=1, description="Event types that it accepts; all when absent."),
]
_Currency = Annotated[str, Meta(pattern="^[A-Z]{3}$", description="ISO 4217 code.")]
_Currencies = Annotated[
    list[_Currency], Meta(min_length=1, description="Currencies that it accepts for values; all when absent.")
]
_Domains = Annotated[
    list[str], Meta(min_length=1, description="Hosts, with their subdomains, that event_source_url may name.")
]
_Surface = Annotated[Surface, Meta(description="The property that its events come from.")]


class SourceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The declared fields of a source that responses show, too."""

    name: Annotated[str, Meta(description="Display name.")] | None = None
    event_types: Annotated[_NonEmptyList, published_as(_EventTypes)] | None = None
    value_currencies: Annotated[_NonEmptyList, published_as(_Currencies)] | None = None
    action_source: Annotated[str, word(ACTION_SOURCES, "Where its events happen.")] | None = None
    allowed_domains: Annotated[_NonEmptyList, published_as(_Domains)] | None = None
    surface: Annotated[dict[str, Any], published_as(_Surface)] | None = None


class DeclaredSource(SourceSettings, frozen=True, kw_only=True):
    """The declared fields of an event source (media-buy/sync-event-sources-request.json)."""

    event_source_id: Annotated[
        str, Meta(min_length=1, max_length=256, description="Your identifier, unique in the account.")
    ]


class DeclaredEntry(DeclaredSource, frozen=True, kw_only=True):
    """The same with what Postback adds."""

    ext: Annotated[DeclaredSourceExt | None, Meta(description="Extensions.")] = None

    @property
    def tag(self) -> TagSettings | None:
        """The settings of its browser tag; None: they stay as they are."""
        added = self.ext and self.ext.postback
        return added.tag or None if added else None


Declared = TypeVar("Declared", bound=DeclaredSource)


class DeclarationError(NamedTuple):
    """An error in a declaration.

    Attributes:
        field: Path within the declaration, for example ``event_types[1]``; empty for the declaration itself.
        message: What is wrong, in one sentence that never quotes the value.
        suggestion: What to send instead.
    """

    field: str
    message: str
    suggestion: str


def declaration_errors(declared: DeclaredSource, event_types: Sequence[str]) -> list[DeclarationError]:
    """The first MAX_ERRORS errors of a declaration; empty if it is valid.

    Args:
        declared: A declaration whose types are right.
        event_types: The allowed event types.
    """
    found = chain(
        _control_characters(declared),
        _unknown_values("event_types", declared.event_types, event_types, "an AdCP event type"),
        _unknown_values("value_currencies", declared.value_currencies, CURRENCIES, "an ISO 4217 currency code"),
        _invalid_domains(declared.allowed_domains or ()),
        _unknown_value("action_source", declared.action_source, ACTION_SOURCES),
        _invalid_surface(declared.surface),
    )
    return list(islice(found, MAX_ERRORS))


def tag_errors(tag: TagSettings | None, declared: DeclaredSource, within: str) -> Iterator[DeclarationError]:
    """What is wrong with the settings of the source's browser tag, which are declared ``within`` this field."""
    for index, wrong in islice(unusable_event_types(tag, declared.event_types), MAX_ERRORS) if tag else ():
        field = f"{within}.event_types[{index}]"
        yield DeclarationError(field, f"{field} {wrong}.", "Send event types that the source accepts, without refund.")


def normalized(declared: Declared) -> Declared:
    """A valid declaration in the form in which it is stored: normalized host names, no duplicates."""
    domains = declared.allowed_domains and [normal_hostname(domain) or domain for domain in declared.allowed_domains]
    return msgspec.structs.replace(
        declared,
        event_types=_distinct(declared.event_types),
        value_currencies=_distinct(declared.value_currencies),
        allowed_domains=_distinct(domains),
    )


def structure_error(error: msgspec.ValidationError, within: str = "") -> DeclarationError:
    """The error that msgspec found in a declaration's types and bounds."""
    path, wrong = describe_validation_error(str(error))
    if unknown := re.fullmatch(r"is wrong: object contains unknown field (.*)", wrong):
        path, wrong = f"{path}.{unknown[1]}", "is not a known field"
    field = f"{within}{path}".lstrip(".")
    return DeclarationError(field, f"{field or 'The entry'} {wrong}.", f"Correct {field or 'the entry'}.")


def _control_characters(declared: DeclaredSource) -> Iterator[DeclarationError]:
    for field in ("event_source_id", "name"):
        if found := _CONTROL_CHARACTERS.search(getattr(declared, field) or ""):
            yield DeclarationError(
                field,
                f"{field} contains the control character U+{ord(found[0]):04X} at character {found.start() + 1}.",
                f"Use printable characters in {field}.",
            )


def _unknown_values(
    field: str, values: Sequence[str] | None, known: Collection[str], kind: str
) -> Iterator[DeclarationError]:
    for index, value in enumerate(values or ()):
        if value not in known:
            yield DeclarationError(f"{field}[{index}]", f"{field}[{index}] is not {kind}.", _closest(value, known))


def _unknown_value(field: str, value: str | None, known: Sequence[str]) -> Iterator[DeclarationError]:
    if value is not None and value not in known:
        yield DeclarationError(field, f"{field} must be one of {', '.join(known)}.", _closest(value, known))


def _invalid_domains(domains: Sequence[str]) -> Iterator[DeclarationError]:
    for index, domain in enumerate(domains):
        if normal_hostname(domain) is None:
            yield DeclarationError(
                f"allowed_domains[{index}]",
                f"allowed_domains[{index}] is not a valid host name.",
                "Send the host alone, for example shop.example, without scheme, port, path or wildcard. "
                "Its subdomains are included.",
            )


def _invalid_surface(surface: dict[str, Any] | None) -> Iterator[DeclarationError]:
    if surface is None:
        return
    try:
        category = msgspec.convert(surface, Surface).category
    except msgspec.ValidationError as error:
        yield structure_error(error, "surface")
    else:
        yield from _unknown_value("surface.category", category, SURFACE_CATEGORIES)


def _closest(value: str, known: Collection[str]) -> str:
    folded = {k.lower(): k for k in known}
    match = get_close_matches(value[:64].strip().lower(), folded, n=1)
    return f'Did you mean "{folded[match[0]]}"?' if match else "Use one of the values in the AdCP schema."


def _distinct(values: Sequence[str] | None) -> tuple[str, ...] | None:
    return tuple(dict.fromkeys(values)) if values else None
