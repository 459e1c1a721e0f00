"""The destinations that accepted events are forwarded to, from the seller's TOML file.

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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import httpx2
import msgspec
from msgspec import Meta

from postback.errors import StartupError
from postback.event_sources.validation import structure_error
from postback.forwarding.template import EventTemplate

__all__ = ["Destination", "Destinations", "read_destinations"]

_Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}\Z")]
_AnyDeclared = TypeVar("_AnyDeclared", bound="_Named")
_FROM_ENVIRONMENT = "env:"
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[!-~]([\t -~]*[!-~])?")
_RESERVED_HEADERS = frozenset(("content-length", "content-type", "host", "idempotency-key", "transfer-encoding"))


class _Named(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: _Name


class _Declared(_Named, frozen=True, kw_only=True, forbid_unknown_fields=True):
    url: str
    headers: dict[str, str] = {}
    allow_private: bool = False


class _DeclaredCommand(_Named, frozen=True, kw_only=True, forbid_unknown_fields=True):
    command: Annotated[list[str], Meta(min_length=1)]


class _DeclaredForward(_Declared, frozen=True, kw_only=True, forbid_unknown_fields=True):
    event_source_id: Annotated[str, Meta(min_length=1, max_length=256)]
    account_id: str = "default"
    template: str | None = None


@dataclass(frozen=True, slots=True)
class Destination:
    """A system of the seller's that receives the events of one source, or alerts about all.

    Attributes:
        name: Unique name, used in metrics and on the command line.
        account_id: The account of the source; empty for alerts.
        event_source_id: The source; it need not exist yet. Empty for alerts.
        url: The URL that events are posted to; empty for a command.
        headers: Headers of each request.
        template: Renders the body of a request, one per event; None posts batches in the form of log_event.
        allow_private: Whether the address may be private or the machine's own.
        command: The program that alerts are handed to instead, and its arguments; else empty.
    """

    name: str
    account_id: str
    event_source_id: str
    url: str
    headers: Mapping[str, str]
    template: EventTemplate | None
    allow_private: bool
    command: tuple[str, ...] = ()


class Destinations:
    """The destinations of a server.

    Attributes:
        alerts: Those that receive alerts.
    """

    def __init__(self, destinations: list[Destination], alerts: Sequence[Destination] = ()) -> None:
        self.alerts = tuple(alerts)
        self._by_name = {destination.name: destination for destination in destinations}
        self._by_source: dict[tuple[str, str], list[Destination]] = {}
        for destination in destinations:
            key = destination.account_id, destination.event_source_id
            self._by_source.setdefault(key, []).append(destination)

    def of(self, account_id: str, event_source_id: str) -> list[Destination]:
        """The destinations for the events of a source."""
        return self._by_source.get((account_id, event_source_id), [])

    def all(self) -> list[Destination]:
        """Those that receive events."""
        return list(self._by_name.values())


def read_destinations(
    forwards: Sequence[dict[str, Any]],
    place: str,
    environ: Mapping[str, str] = os.environ,
    alerts: Sequence[dict[str, Any]] = (),
) -> Destinations:
    """The destinations in a file.

    Args:
        forwards: Its tables ``[[forwards]]``.
        alerts: Its tables ``[[alerts]]``.
        place: Its name, for errors.
        environ: The variables that URLs and headers refer to as ``env:NAME``.

    Raises:
        StartupError: A destination is invalid; the message names the place.
    """
    names: set[str] = set()
    of_events = [_read_forward(entry, f"{place}: forwards[{i}]", environ, names) for i, entry in enumerate(forwards)]
    of_alerts = [_read_alert(entry, f"{place}: alerts[{i}]", environ, names) for i, entry in enumerate(alerts)]
    return Destinations(of_events, of_alerts)


def _read_forward(entry: dict[str, Any], at: str, environ: Mapping[str, str], names: set[str]) -> Destination:
    declared = _declared(entry, _DeclaredForward, at, names)
    template = None if declared.template is None else EventTemplate.of(declared.template, f"{at}.template")
    return _destination(declared, at, environ, declared.account_id, declared.event_source_id, template)


def _read_alert(entry: dict[str, Any], at: str, environ: Mapping[str, str], names: set[str]) -> Destination:
    if "command" not in entry:
        return _destination(_declared(entry, _Declared, at, names), at, environ)
    declared = _declared(entry, _DeclaredCommand, at, names)
    program = Path(declared.command[0])
    if not (program.is_absolute() and program.is_file() and os.access(program, os.X_OK)):
        raise StartupError(
            f"{at}.command must begin with the absolute path of a program that the server's user may execute, for "
            'example ["/usr/local/bin/page", "--team", "ads"]. No shell reads it.'
        )
    if any("\0" in argument for argument in declared.command):
        raise StartupError(f"{at}.command contains a zero byte. Remove it.")
    return Destination(declared.name, "", "", "", {}, None, allow_private=False, command=tuple(declared.command))


def _declared(entry: dict[str, Any], shape: type[_AnyDeclared], at: str, names: set[str]) -> _AnyDeclared:
    try:
        declared = msgspec.convert(entry, shape)
    except msgspec.ValidationError as error:
        raise StartupError(f"{at}: {structure_error(error).message}") from error
    if declared.name in names:
        raise StartupError(f"{at}.name is already the name of an earlier destination. Choose another.")
    names.add(declared.name)
    return declared


def _destination(
    declared: _Declared,
    at: str,
    environ: Mapping[str, str],
    account_id: str = "",
    event_source_id: str = "",
    template: EventTemplate | None = None,
) -> Destination:
    url = _url(declared, f"{at}.url", environ)
    headers = {name: _header(name, value, f"{at}.headers", environ) for name, value in declared.headers.items()}
    return Destination(declared.name, account_id, event_source_id, url, headers, template, declared.allow_private)


def _url(declared: _Declared, at: str, environ: Mapping[str, str]) -> str:
    text = _value(declared.url, at, environ)
    invalid = StartupError(f"{at} must be a URL, for example https://host/path, without a user or a fragment.")
    try:
        url = httpx2.URL(text)
    except httpx2.InvalidURL:
        raise invalid from None
    if url.scheme not in {"http", "https"} or not url.host or "%" in url.host or url.userinfo or url.fragment:
        raise invalid
    if url.port is not None and not 0 < url.port < 65_536:
        raise invalid
    if url.scheme == "http" and not declared.allow_private:
        raise StartupError(f"{at} must begin with https://. With allow_private = true it may begin with http://.")
    return text


def _header(name: str, value: str, at: str, environ: Mapping[str, str]) -> str:
    if not _HEADER_NAME.fullmatch(name):
        raise StartupError(f"{at} contains an invalid HTTP header name. Use letters, digits and hyphens.")
    if name.lower() in _RESERVED_HEADERS:
        raise StartupError(f"{at}.{name} is set by Postback itself. Remove it.")
    resolved = _value(value, f"{at}.{name}", environ)
    if not _HEADER_VALUE.fullmatch(resolved):
        raise StartupError(
            f"{at}.{name} must be printable ASCII. It must not be empty, or begin or end with a space or line break."
        )
    return resolved


def _value(text: str, at: str, environ: Mapping[str, str]) -> str:
    if not text.startswith(_FROM_ENVIRONMENT):
        return text
    name = text.removeprefix(_FROM_ENVIRONMENT)
    if name not in environ:
        raise StartupError(f"{at} refers to the environment variable {name}, which is not set. Set it.")
    return environ[name]
