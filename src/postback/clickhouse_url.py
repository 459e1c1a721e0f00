"""The address of a ClickHouse server, as POSTBACK_EVENTS has it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qsl, quote, unquote, urlsplit

__all__ = ["ClickHouseUrl"]

_PORTS = {"clickhouse": 8123, "clickhouses": 8443}
_NATIVE_PORTS = frozenset((9000, 9440))
_DATABASE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class ClickHouseUrl:
    """A server and a database on it: ``clickhouse[s]://USER:PASSWORD@HOST:PORT/DATABASE[?ca_cert=FILE]``.

    Attributes:
        scheme: ``clickhouses`` for TLS, ``clickhouse`` for a network that is trusted.
        host: A name or an address, IPv6 without brackets.
        port: Of ClickHouse's HTTP interface.
        user: The user.
        password: Their password; messages never show it.
        database: The database; letters, digits and underscores.
        ca_cert: File of the certificates that the server's is signed by; None for those of the system.
    """

    scheme: str
    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str
    ca_cert: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a URL.

        Raises:
            ValueError: What is wrong with it, as the end of a sentence that begins with its name.
        """
        try:
            url = urlsplit(text)
            port = url.port
        except ValueError:
            raise ValueError(
                "has a port or a host that can't be read. Write special characters of the password as %XX, for "
                "example %2F for a slash"
            ) from None
        if url.scheme not in _PORTS:
            raise ValueError("must begin with clickhouse://, with clickhouses:// for TLS, or be chdb://")
        if not url.hostname:
            raise ValueError("names no host. Put it before the port, for example clickhouse://USER:PASSWORD@HOST/NAME")
        if not url.username:
            raise ValueError("names no user. Put the user before the host, for example clickhouse://USER:PASSWORD@HOST")
        if port in _NATIVE_PORTS:
            raise ValueError(
                f"has port {port}, which speaks ClickHouse's native protocol. Name the port of its HTTP interface: "
                "8123, or 8443 with TLS"
            )
        database = url.path.removeprefix("/")
        if not _DATABASE.fullmatch(database):
            raise ValueError("must name a database of letters, digits and underscores, for example …/postback")
        options = dict(parse_qsl(url.query, keep_blank_values=True))
        ca_cert = options.pop("ca_cert", None)
        if options or url.fragment:
            raise ValueError(
                "has options that are not known; ca_cert=FILE is the only one. Write a ? or # of the password as %XX"
            )
        if ca_cert is not None and url.scheme != "clickhouses":
            raise ValueError("has ca_cert, which only clickhouses:// uses")
        password = unquote(url.password or "")
        return cls(
            url.scheme, url.hostname, port or _PORTS[url.scheme], unquote(url.username), password, database, ca_cert
        )

    def beside(self, text: str) -> Self:
        """Read the URL of a further database, which has the same user and password, and names neither.

        Raises:
            ValueError: What is wrong with it, as the end of a sentence that begins with its name.
        """
        scheme, separator, rest = text.partition("://")
        if "@" in rest.partition("/")[0]:
            raise ValueError("names a user or a password. Leave them out: those of POSTBACK_EVENTS are used")
        return self.parse(f"{scheme}{separator}{self._login}@{rest}" if separator else text)

    @property
    def _login(self) -> str:
        return f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"

    @property
    def text(self) -> str:
        """The URL, with the password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        options = f"?ca_cert={quote(self.ca_cert)}" if self.ca_cert else ""
        return f"{self.scheme}://{self._login}@{host}:{self.port}/{self.database}{options}"

    @property
    def place(self) -> str:
        """How messages name it."""
        return f"the database {self.database} of ClickHouse at {self.host}:{self.port}"

    @property
    def tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.scheme == "clickhouses"
