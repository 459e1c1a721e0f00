"""The types of settings: what the text of a value must be, and what it means."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from postback.clickhouse_url import ClickHouseUrl
from postback.protocol.origins import web_origin
from postback.protocol.releases import is_prerelease

__all__ = [
    "CONTROL",
    "EMBEDDED",
    "EVENTS",
    "HOST",
    "KEY",
    "NETWORKS",
    "ORIGINS",
    "PATH",
    "PRERELEASES",
    "SECRET",
    "SECRET_BYTES",
    "SWITCH",
    "URL",
    "InvalidValue",
    "SettingType",
    "one_of",
    "whole",
]

EMBEDDED = "chdb://"
"""The event store inside the server."""

SECRET_BYTES = 32
"""Bytes of the secret of an installation."""

_LEAST_KEY = 32
"""Characters of a key that nobody guesses, even if they are only hexadecimal digits."""


class SettingType(NamedTuple):
    """What the values of a setting may be.

    Attributes:
        expects: What a value must be; finishes the sentence "must be ...".
        parse: Text to value; raises ValueError.
    """

    expects: str
    parse: Callable[[str], Any]


class InvalidValue(ValueError):
    """What is wrong with a value and what to write instead, as the end of a sentence; it never quotes a secret."""


def whole(least: int, most: int) -> SettingType:
    """Whole numbers, both bounds included."""

    def parse(text: str) -> int:
        number = int(text)
        if not least <= number <= most:
            raise ValueError
        return number

    return SettingType(f"a whole number from {least:,} to {most:,}", parse)


def one_of(*words: str) -> SettingType:
    """One of some lower-case words, however it is capitalized."""

    def parse(text: str) -> str:
        return words[words.index(text.strip().lower())]

    return SettingType(f"one of {', '.join(words)}", parse)


def _parse_switch(text: str) -> bool:
    word = text.strip().lower()
    if word not in {"true", "1", "yes", "on", "false", "0", "no", "off"}:
        raise ValueError
    return word in {"true", "1", "yes", "on"}


def _parse_path(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _parse_host(text: str) -> str:
    if not text.isascii() or any(character in "/ \t\r\n" for character in text):
        raise ValueError
    return text


def _parse_url(text: str) -> str:
    url = urlsplit(text)
    if url.scheme not in {"http", "https"} or not url.hostname or url.query or url.fragment or url.username:
        raise ValueError
    return text.rstrip("/")


def _parse_control(text: str) -> str:
    scheme, separator, rest = text.partition("://")
    if scheme not in {"postgresql", "postgresql+psycopg"} or not separator or not rest:
        raise ValueError
    return f"postgresql+psycopg://{rest}"


def _parse_events(text: str) -> str | None:
    """None for the engine in this process."""
    if text == EMBEDDED:
        return None
    try:
        return ClickHouseUrl.parse(text).text
    except ValueError as error:
        raise InvalidValue(error) from None


def _parse_key(text: str) -> str:
    if len(text) < _LEAST_KEY or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError
    return text


def _parse_secret(text: str) -> str:
    if len(text) != 2 * SECRET_BYTES:
        raise ValueError
    return bytes.fromhex(text).hex()


def _parse_list(text: str, check: Callable[[str], str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(check(item.strip()) for item in text.split(",") if item.strip()))


def _parse_network(text: str) -> str:
    return str(ip_network(text))


def _parse_prerelease(text: str) -> str:
    if not is_prerelease(text):
        raise ValueError
    return text


def _parse_origin(text: str) -> str:
    url = urlsplit(text)
    origin = web_origin(text)
    if origin is None or url.path not in {"", "/"} or url.query or url.fragment:
        raise ValueError
    return origin


SWITCH = SettingType("true or false", _parse_switch)
PATH = SettingType("a path", _parse_path)
HOST = SettingType("a host name or an IP address", _parse_host)
URL = SettingType("a URL that starts with http:// or https:// and has no query", _parse_url)
EVENTS = SettingType("chdb:// or a URL such as clickhouse://USER:PASSWORD@HOST:8123/DATABASE", _parse_events)
CONTROL = SettingType("a URL such as postgresql://USER:PASSWORD@HOST/DATABASE", _parse_control)
PRERELEASES = SettingType(
    "pre-releases of AdCP, separated by commas, for example 3.2-beta.5",
    lambda text: _parse_list(text, _parse_prerelease),
)
ORIGINS = SettingType(
    "origins, separated by commas, for example https://tools.example",
    lambda text: _parse_list(text, _parse_origin),
)
NETWORKS = SettingType(
    "IP addresses or networks, separated by commas, for example 127.0.0.1,10.1.0.0/16",
    lambda text: _parse_list(text, _parse_network),
)
SECRET = SettingType("64 hexadecimal digits, for example what 'openssl rand -hex 32' prints", _parse_secret)
KEY = SettingType(f"at least {_LEAST_KEY} ASCII characters without spaces", _parse_key)
