"""Goals in a place or a spelling that would be passed over.

AdCP's schemas allow any further field, so a goal that is misspelt is a valid request that buys something else: a window
of 30 days, no value, or no goal at all. Earlier AdCP pages, other ad APIs and other naming styles have such spellings.
The lists are closed, and a name is compared without its case, its separators and the spelling of "optimise". Any other
field that nobody knows is accepted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from postback.errors import InvalidRequest, RequestError
from postback.protocol.releases import Release

__all__ = ["misspelt_goals"]

_NO_FIELD = frozenset(
    f"{name}{plural}"
    for name in (
        "optimizationgoal",
        "conversiongoal",
        "eventgoal",
        "packagegoal",
        "mediabuygoal",
        "optimizationevent",
        "conversionevent",
        "conversionaction",
        "eventsource",
        "eventsourceid",
        "attributionwindow",
        "conversionwindow",
        "lookbackwindow",
        "clickwindow",
        "viewwindow",
        "postclickwindow",
        "postviewwindow",
    )
    for plural in ("", "s")
) | {"postclick", "postview"}
"""Goals, and parts of a goal, that stand where packages and media buys have no such field."""

_NO_FIELD_WITH_OBJECTS = frozenset(
    f"{name}{plural}"
    for name in (
        "goal",
        "campaigngoal",
        "performancegoal",
        "kpigoal",
        "optimization",
        "optimizationtarget",
        "attribution",
    )
    for plural in ("", "s")
)
"""The same for names that may just as well stand before a word for people, as in ``"goal": "awareness"``."""

_OF_GOAL = {
    "event_sources": (
        "eventsource",
        "eventsources",
        "eventsourceid",
        "eventsourceids",
        "sourceids",
        "sources",
        "events",
        "eventtype",
        "eventtypes",
        "customeventname",
        "conversionevent",
        "conversionevents",
    ),
    "attribution_window": (
        "attributionwindow",
        "attributionwindows",
        "attribution",
        "attributionsetting",
        "attributionsettings",
        "attributionmodel",
        "window",
        "windows",
        "conversionwindow",
        "windowdays",
    ),
    "value_field, in an entry of event_sources": (
        "valuefield",
        "valuefields",
        "valuepath",
        "valuekey",
        "valueproperty",
    ),
    "value_factor, in an entry of event_sources": ("valuefactor", "valuemultiplier"),
    "target": ("targets", "targetcpa", "targetroas", "targetvalue", "targetcost", "cpatarget", "roastarget"),
}
_OF_SOURCE = {
    "custom_event_name": ("customeventname", "customevent", "customname", "eventname"),
    "value_field": (
        "value",
        "valuefield",
        "valuefields",
        "valuepath",
        "valuekey",
        "valueproperty",
        "valueparameter",
        "revenuefield",
    ),
    "value_factor": ("valuefactor", "factor", "valuemultiplier", "multiplier", "valuescale"),
}
_WINDOW_FIELDS = ("post_click", "post_view", "model")
_AFTER_WHAT = re.compile(
    r"(post|after|per)?(click|view|impression|engagement|touch)s?"
    r"(through|thru|window|lookback|period|duration|days?|hours?)?s?\Z|(lookback|ctc|vtc)\Z"
)
"""A word of a name that says after what a conversion counts, for example of ``clickThrough``."""

_HOW_LONG = re.compile(r"(look|back|window|period|duration|interval|unit|day|hour|minute|second|week|model)s?\Z")
"""One that says how long, for what stands in an attribution_window."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_KIND = {"click": "post_click", "ctc": "post_click", "view": "post_view", "impression": "post_view", "vtc": "post_view"}
_TELLABLE = re.compile(r"[A-Za-z][A-Za-z_-]{0,63}\Z")
"""A name that may be told: a value that went astray has other characters."""

_EXAMPLE = '{"%s": {"interval": 7, "unit": "days"}}'


def misspelt_goals(
    fields: Mapping[str, Any], release: Release | None, packages: tuple[str, ...] = ("packages",)
) -> Iterator[RequestError]:
    """An error for each goal, or part of one, that would be passed over.

    Args:
        fields: The call's fields, parsed.
        release: The release that is served.
        packages: The names of the fields that have packages.
    """
    for name, value in fields.items():
        if _stands_for_goals(name, value):
            instead = "Goals belong to packages: send them as optimization_goals of each package"
            yield _error("The media buy", "", name, instead)
    for at in packages:
        for place, package in _objects(fields.get(at), at):
            yield from _in_package(package, place, release)


def _in_package(package: Mapping[str, Any], at: str, release: Release | None) -> Iterator[RequestError]:
    for name, value in package.items():
        if name != "optimization_goals" and _stands_for_goals(name, value):
            yield _error("A package", at, name, "Send optimization_goals, an array of goals")
    for place, goal in _objects(package.get("optimization_goals"), f"{at}.optimization_goals"):
        if goal.get("kind") != "event":
            continue
        yield from _misspelt(goal, place, "A goal", _OF_GOAL)
        for name, value in goal.items():
            if value is not None and _named(name, _AFTER_WHAT):
                kind = _kind_of(name) or "post_click"
                yield _error(
                    "A goal", place, name, f"Send attribution_window with {kind}, for example {_EXAMPLE % kind}"
                )
        for source_place, source in _objects(goal.get("event_sources"), f"{place}.event_sources"):
            yield from _misspelt(source, source_place, "An entry of event_sources", _OF_SOURCE)
        window = goal.get("attribution_window")
        if isinstance(window, dict):
            yield from _in_window(window, f"{place}.attribution_window", release)


def _in_window(window: Mapping[str, Any], at: str, release: Release | None) -> Iterator[RequestError]:
    known = [name for name in _WINDOW_FIELDS if window.get(name) is not None]
    others = [name for name in window if name not in _WINDOW_FIELDS and _named(name, _AFTER_WHAT, _HOW_LONG)]
    for name in others:
        kind = _kind_of(name)
        instead = f"Send {kind or 'post_click or post_view'}, for example {_EXAMPLE % (kind or 'post_click')}"
        yield _error("attribution_window", at, name, instead)
    needed = _WINDOW_FIELDS[:2] if release == "3.0" else _WINDOW_FIELDS
    if not others and not set(known).intersection(needed):
        yield InvalidRequest(
            f"{at} must have {', '.join(needed[:-1])} or {needed[-1]}. Omit it for the seller's default windows.",
            field=at,
            suggestion=f"Send for example {_EXAMPLE % 'post_click'}.",
        )


def _misspelt(
    sent: Mapping[str, Any], at: str, what: str, spellings: Mapping[str, tuple[str, ...]]
) -> Iterator[RequestError]:
    for name, value in sent.items():
        for right, wrong in spellings.items():
            if value is not None and name not in spellings and _canonical(name) in wrong:
                yield _error(what, at, name, f"Send {right}")


def _error(what: str, at: str, name: str, instead: str) -> InvalidRequest:
    told = _TELLABLE.match(name) is not None
    field = ".".join(filter(None, (at, name if told else "")))
    unknown = f"field {name}" if told else "such field"
    return InvalidRequest(
        f"{what} has no {unknown}, and the goal would not count as you mean it.",
        field=field or None,
        suggestion=f"{instead}.",
    )


def _objects(values: object, at: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The objects of an array, with their places."""
    for index, value in enumerate(values if isinstance(values, list) else ()):
        if isinstance(value, dict):
            yield f"{at}[{index}]", value


def _stands_for_goals(name: str, value: object) -> bool:
    """Whether a field of a package or a media buy, which has none of this name, was meant to be a goal."""
    canonical = _canonical(name)
    if value is None or canonical not in _NO_FIELD | _NO_FIELD_WITH_OBJECTS:
        return False
    first = value[0] if isinstance(value, list) and value else value
    return canonical in _NO_FIELD or isinstance(first, dict)


def _canonical(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower()).replace("optimis", "optimiz")


def _named(name: str, *words: re.Pattern[str]) -> bool:
    return any(pattern.match(word.lower()) for word in _WORD.findall(name) for pattern in words)


def _kind_of(name: str) -> str | None:
    lower = name.lower()
    return next((kind for word, kind in _KIND.items() if word in lower), None)
