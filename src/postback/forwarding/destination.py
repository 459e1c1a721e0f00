"""Where accepted events go on to, as the seller's TOML file says at start.

```toml
[[forwards]]
name = "crm"
event_source_id = "website"
url = "https://crm.seller.example/conversions"
headers = { Authorization = "env:CRM_TOKEN" }
template = '{"order": {{ event.event_id | tojson }}, "email": {{ event.user_match.hashed_email | tojson }}}'
```
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import httpx2
import msgspec
from msgspec import Meta

from postback.errors import StartupError
from postback.forwarding.template import EventTemplate
from postback.sources.declared import structure_problem

__all__ = ["Destination", "Destinations", "read_destinations"]

_Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}\Z")]
_FROM_ENVIRONMENT = "env:"
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[!-~]([\t -~]*[!-~])?")
_OURS = frozenset(("content-length", "content-type", "host", "idempotency-key", "transfer-encoding"))


class _Declared(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: _Name
    event_source_id: Annotated[str, Meta(min_length=1, max_length=256)]
    url: str
    account_id: str = "default"
    template: str | None = None
    headers: dict[str, str] = {}
    allow_private: bool = False


@dataclass(frozen=True, slots=True)
class Destination:
    """A system of the seller that takes the events of one source.

    Attributes:
        name: Unique; names it in metrics and on the command line.
        account_id: The account of the source.
        event_source_id: The source; it need not exist yet.
        url: Where events are posted to.
        headers: Sent with each request.
        template: Makes the body of a request, one an event; None posts batches in AdCP's shape.
        allow_private: Whether the address may be private or this machine's own.
    """

    name: str
    account_id: str
    event_source_id: str
    url: str
    headers: Mapping[str, str]
    template: EventTemplate | None
    allow_private: bool


class Destinations:
    """The destinations of a server."""

    def __init__(self, destinations: list[Destination]) -> None:
        self._by_name = {destination.name: destination for destination in destinations}
        self._by_source: dict[tuple[str, str], list[Destination]] = {}
        for destination in destinations:
            key = destination.account_id, destination.event_source_id
            self._by_source.setdefault(key, []).append(destination)

    def of(self, account_id: str, event_source_id: str) -> list[Destination]:
        """Those that take the events of a source."""
        return self._by_source.get((account_id, event_source_id), [])

    def all(self) -> list[Destination]:
        """All of them."""
        return list(self._by_name.values())


def read_destinations(
    entries: list[dict[str, Any]], place: str, environ: Mapping[str, str] = os.environ
) -> Destinations:
    """The destinations that a file lists.

    Args:
        entries: Its tables ``[[forwards]]``.
        place: What it is called, for errors.
        environ: Where URLs and headers find what the file names as ``env:NAME``.

    Raises:
        StartupError: One can't be used; the sentence names the place.
    """
    found: list[Destination] = []
    for index, entry in enumerate(entries):
        at = f"{place}: forwards[{index}]"
        destination = _read(entry, at, environ)
        if any(destination.name == other.name for other in found):
            raise StartupError(f"{at}.name is that of an earlier one. Choose another.")
        found.append(destination)
    return Destinations(found)


def _read(entry: dict[str, Any], at: str, environ: Mapping[str, str]) -> Destination:
    try:
        declared = msgspec.convert(entry, _Declared)
    except msgspec.ValidationError as error:
        raise StartupError(f"{at}: {structure_problem(error).message}") from error
    return Destination(
        declared.name,
        declared.account_id,
        declared.event_source_id,
        _url(declared, f"{at}.url", environ),
        {name: _header(name, value, f"{at}.headers", environ) for name, value in declared.headers.items()},
        None if declared.template is None else EventTemplate.of(declared.template, f"{at}.template"),
        declared.allow_private,
    )


def _url(declared: _Declared, at: str, environ: Mapping[str, str]) -> str:
    text = _value(declared.url, at, environ)
    problem = StartupError(f"{at} must be a URL as https://host/path, without a user or a fragment.")
    try:
        url = httpx2.URL(text)
    except httpx2.InvalidURL:
        raise problem from None
    if url.scheme not in {"http", "https"} or not url.host or "%" in url.host or url.userinfo or url.fragment:
        raise problem
    if url.port is not None and not 0 < url.port < 65_536:
        raise problem
    if url.scheme == "http" and not declared.allow_private:
        raise StartupError(f"{at} must begin with https:// unless allow_private says that the way is safe.")
    return text


def _header(name: str, value: str, at: str, environ: Mapping[str, str]) -> str:
    if not _HEADER_NAME.fullmatch(name):
        raise StartupError(f"{at} holds a name that no HTTP header can have. Use letters, digits and hyphens.")
    if name.lower() in _OURS:
        raise StartupError(f"{at}.{name} can't be set: Postback says itself what it sends. Remove it.")
    found = _value(value, f"{at}.{name}", environ)
    if not _HEADER_VALUE.fullmatch(found):
        raise StartupError(f"{at}.{name} must be printable ASCII without spaces or line ends around it, and not empty.")
    return found


def _value(text: str, at: str, environ: Mapping[str, str]) -> str:
    if not text.startswith(_FROM_ENVIRONMENT):
        return text
    name = text.removeprefix(_FROM_ENVIRONMENT)
    if name not in environ:
        raise StartupError(f"{at} takes its value from the variable {name}, which is not set.")
    return environ[name]
