"""The settings: one table of names, defaults and meanings, read from POSTBACK_* variables when the server starts."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from postback.clickhouse_url import ClickHouseUrl
from postback.errors import StartupError
from postback.setting_types import (
    CONTROL,
    EMBEDDED,
    EVENTS,
    HOST,
    KEY,
    NETWORKS,
    ORIGINS,
    PATH,
    PRERELEASES,
    SECRET,
    SWITCH,
    URL,
    InvalidValue,
    SettingType,
    one_of,
    whole,
)

__all__ = ["CLIENT_VARIABLES", "SETTINGS", "Setting", "Settings", "load_settings"]

CLIENT_VARIABLES = frozenset({"POSTBACK_KEY", "POSTBACK_URL"})
"""Variables that clients use; a server started from the same shell ignores them."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Attributes:
        name: Its name in Settings, for example ``max_body_bytes``.
        default: Its text when it isn't set; None means unset.
        expects: What a value must be; finishes the sentence "must be ...".
        parse: Text to value; raises ValueError.
        help: What it does, with its unit.
        secret: Whether messages never show the value.
    """

    name: str
    default: str | None
    expects: str
    parse: Callable[[str], Any]
    help: str
    secret: bool = False

    @property
    def variable(self) -> str:
        """The environment variable, for example ``POSTBACK_MAX_BODY_BYTES``."""
        return f"POSTBACK_{self.name.upper()}"

    def read(self, text: str | None) -> Any:
        """The value of ``text``, or of the default when it is None or empty."""
        text = text or self.default
        if text is None:
            return None
        try:
            return self.parse(text)
        except InvalidValue as problem:
            raise StartupError(f"{self.variable} {problem}.") from None
        except ValueError:
            was = "" if self.secret else f" is {text[:80]!r}, but"
            instead = f"leave it unset for {self.default}" if self.default else "leave it unset"
            raise StartupError(f"{self.variable}{was} must be {self.expects}; correct it or {instead}.") from None


def _setting(values: SettingType, default: str | None, help: str, *, secret: bool = False) -> Any:
    """A field of Settings that carries its row of the table."""
    row = {"default": default, "help": help, "secret": secret} | values._asdict()
    return dataclasses.field(repr=not secret, metadata=row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The operator's settings. Made by load_settings, so every value has been checked."""

    data: Path = _setting(
        PATH, "postback-data", "Folder in which Postback stores everything. Created at the first start."
    )
    control: str | None = _setting(
        CONTROL,
        None,
        "PostgreSQL database for accounts, keys, event sources and media buys. Unset: SQLite in the data folder.",
        secret=True,
    )
    control_outage_seconds: int = _setting(
        whole(0, 86_400),
        "900",
        "Seconds for which API keys and event sources that were looked up go on working while PostgreSQL doesn't "
        "answer. 0: none.",
    )
    secret: str | None = _setting(
        SECRET,
        None,
        "Secret of the installation, for several servers that share a PostgreSQL. Unset: that of the data folder.",
        secret=True,
    )
    secret_file: Path | None = _setting(PATH, None, "File with that secret, instead of POSTBACK_SECRET.")
    events: str | None = _setting(
        EVENTS,
        EMBEDDED,
        "ClickHouse database for events and what is derived from them. chdb://: inside the server, in the data folder.",
        secret=True,
    )
    events_password_file: Path | None = _setting(
        PATH, None, "File with the password for POSTBACK_EVENTS, whose URL then has none."
    )
    role: Literal["all", "ingest", "work"] = _setting(
        one_of("all", "ingest", "work"),
        "all",
        "What one of several servers does. ingest: it takes calls and leaves attribution, forwarding and retention to "
        "others. work: it does only these.",
    )
    host: str = _setting(HOST, "127.0.0.1", "Address to listen on. 0.0.0.0 listens on all of them.")
    port: int = _setting(whole(1, 65535), "8787", "TCP port to listen on.")
    processes: int = _setting(
        whole(1, 16),
        "1",
        "Processes that share the port, over a PostgreSQL and a ClickHouse. Process K also listens on the port "
        "POSTBACK_PORT + K.",
    )
    sandbox: bool = _setting(
        SWITCH,
        "false",
        "Whether the server is a sandbox: nothing on it is real, and official test runners may drive it.",
    )
    public_url: str = _setting(
        URL, None, "URL at which callers reach the server; set-up snippets show it. Unset: http://HOST:PORT."
    )
    allowed_origins: tuple[str, ...] = _setting(
        ORIGINS,
        None,
        "Web pages whose scripts may call the MCP endpoint, beside those of the server's own URL. Unset: none.",
    )
    trusted_proxies: tuple[str, ...] = _setting(
        NETWORKS,
        "127.0.0.1,::1",
        "Proxies whose X-Forwarded-For header is believed: it has the caller's address.",
    )
    clicks_per_hour: int = _setting(
        whole(0, 10**6),
        "60",
        "Clicks from one address on one click link that count in an hour. 0: all, and repeated ones too.",
    )
    prereleases: tuple[str, ...] = _setting(
        PRERELEASES, None, "Pre-releases of AdCP that a call may pin. For tests. Unset: none."
    )
    bootstrap_key: str | None = _setting(
        KEY, None, "API key for the account default, instead of a generated one. For containers.", secret=True
    )
    seller_config: Path | None = _setting(
        PATH, None, "TOML file of seller-managed event sources, and of destinations of events and of alerts."
    )
    signing_keys: Path | None = _setting(
        PATH,
        None,
        "JSON Web Key Set of the buyers whose requests must be signed. Unset: none.",
    )
    products: Path | None = _setting(
        PATH, None, "TOML file of the products on offer. Unset: none; in a sandbox, a few to try."
    )
    sandbox_accounts: bool = _setting(
        SWITCH,
        "false",
        "Whether buyers may ask for sandbox accounts on a server that is none. You approve them like others.",
    )
    pending_accounts: int = _setting(
        whole(0, 1000), "100", "Accounts of one key that may await your approval; further ones are refused."
    )
    event_sources: int = _setting(
        whole(1, 1_000_000),
        "5000",
        "Event sources of one account, deleted ones included, since their events are kept; further ones are refused.",
    )
    media_buys: int = _setting(
        whole(1, 1_000_000),
        "5000",
        "Media buys of one account that are open or were made in the last 30 days, canceled ones included, since all "
        "are kept; further ones are refused. They may have 5,000 bytes each, on average.",
    )
    rate_limit: int = _setting(
        whole(0, 10**9), "6000", "Requests that a key may make per minute. 0 turns the rate limits of keys off."
    )
    rate_limit_events: int = _setting(whole(1, 10**12), "3000000", "Events that a key may log per minute.")
    tag_rate_limit: int = _setting(
        whole(0, 10**9),
        "600",
        "Requests that the browser tag of one event source may make per minute from one address. 0: any number.",
    )
    key_concurrency: int = _setting(
        whole(1, 10**6), "512", "Requests of a key that may be under way at once; further ones are refused with 429."
    )
    max_event_age_days: int = _setting(
        whole(1, 36500),
        "90",
        "Days after which an event is too old to be accepted, unless its source sets a limit.",
    )
    retention_days: int | None = _setting(
        whole(1, 36500),
        None,
        "Days after which identifiers and payloads of events and exposures are dropped. Unset: never.",
    )
    require_user_match: bool = _setting(SWITCH, "false", "Whether an event without user_match fails.")
    max_body_bytes: int = _setting(
        whole(1024, 2**31 - 1), "64000000", "Largest request body in bytes, after decompression."
    )
    body_memory_bytes: int = _setting(
        whole(4096, 2**40),
        None,
        "Memory in bytes for the request bodies that are under way, of which one key has at most half. Unset: four "
        "times POSTBACK_MAX_BODY_BYTES, which is also the least.",
    )
    response_quota_bytes: int = _setting(
        whole(1, 2**40),
        "256000000",
        "Bytes of large responses that are stored for the retries of one key, compressed, in 24 hours.",
    )
    queue_events: int = _setting(
        whole(10_000, 10**8), "200000", "Events that may wait in the ingest log; further ones are refused with 503."
    )
    metrics_token: str | None = _setting(
        KEY, None, "Token that a request for the metrics must have. Unset: the metrics need none.", secret=True
    )
    validation_workers: int | None = _setting(
        whole(0, 64),
        None,
        "Processes that validate batches of more than 50 events or 64 KiB. 0: none. Unset: one per core, at most 4.",
    )
    log_level: str = _setting(one_of("debug", "info", "warning", "error"), "info", "Lowest severity to log.")
    log_format: Literal["text", "json"] = _setting(
        one_of("text", "json"), "text", "Form of the log's lines: text to read, or one JSON object each."
    )

    @property
    def takes_calls(self) -> bool:
        """Whether the server takes calls, beside those of monitoring."""
        return self.role != "work"

    @property
    def works(self) -> bool:
        """Whether the server attributes, forwards and drops what is too old, as far as no other does."""
        return self.role != "ingest"


SETTINGS: tuple[Setting, ...] = tuple(
    Setting(name=field.name, **field.metadata) for field in dataclasses.fields(Settings)
)


def load_settings(environ: Mapping[str, str], **overrides: object) -> Settings:
    """The settings from POSTBACK_* variables; an override that is not None wins over its variable.

    Raises StartupError with a sentence that names the variable, what was wrong and what to do.
    """
    _refuse_unknown(environ)
    values = {
        setting.name: setting.read(
            str(given) if (given := overrides.pop(setting.name, None)) is not None else environ.get(setting.variable)
        )
        for setting in SETTINGS
    }
    if overrides:
        raise TypeError(f"no such settings: {', '.join(overrides)}")
    for name in ("allowed_origins", "prereleases"):
        values[name] = values[name] or ()
    values["secret"] = _secret_in(values["secret_file"], values["secret"])
    values["events"] = _with_password(values["events"], values["events_password_file"])
    if values["role"] != "all" and not (values["control"] and values["events"]):
        raise StartupError(
            f"POSTBACK_ROLE is {values['role']}, but a server that has its stores to itself does everything. Unset it, "
            "or have several servers share a PostgreSQL and a ClickHouse by POSTBACK_CONTROL and POSTBACK_EVENTS."
        )
    if values["processes"] > 1 and not (values["control"] and values["events"] and values["secret"]):
        raise StartupError(
            f"POSTBACK_PROCESSES is {values['processes']}, but several processes need a PostgreSQL, a ClickHouse and a "
            "secret that they share: the stores in a data folder have one process. Set POSTBACK_CONTROL, "
            "POSTBACK_EVENTS, and POSTBACK_SECRET or POSTBACK_SECRET_FILE; a server that ran alone so far has its "
            "secret in secret.key in its data folder."
        )
    values["public_url"] = values["public_url"] or _url_of(values["host"], values["port"])
    values["body_memory_bytes"] = _body_memory(values["body_memory_bytes"], values["max_body_bytes"])
    return Settings(**values)


def _refuse_unknown(environ: Mapping[str, str]) -> None:
    known = {setting.variable for setting in SETTINGS}
    for variable in sorted(environ):
        if variable.startswith("POSTBACK_") and variable not in known | CLIENT_VARIABLES:
            closest = difflib.get_close_matches(variable, sorted(known), n=1, cutoff=0.0)
            raise StartupError(
                f"{variable} is not a setting of Postback; the closest is {closest[0]}. Unset or rename it."
            )


def _secret_in(file: Path | None, secret: str | None) -> str | None:
    """The secret, which a file may have."""
    if file is None:
        return secret
    if secret:
        raise StartupError("POSTBACK_SECRET and POSTBACK_SECRET_FILE are both set. Unset one of them.")
    try:
        read: str = SECRET.parse(file.read_text("ascii").strip())
    except OSError as error:
        raise StartupError(f"POSTBACK_SECRET_FILE names {file}, which can't be read ({error.strerror}).") from error
    except ValueError:
        raise StartupError(f"POSTBACK_SECRET_FILE names {file}, which must contain {SECRET.expects}.") from None
    return read


def _with_password(events: str | None, file: Path | None) -> str | None:
    """The address of the event store, with the password that a file has."""
    if file is None:
        return events
    url = ClickHouseUrl.parse(events) if events else None
    if url is None or url.password:
        has = "has a password already" if url else f"is {EMBEDDED}, which needs none"
        raise StartupError(f"POSTBACK_EVENTS_PASSWORD_FILE is set, but POSTBACK_EVENTS {has}. Use one of the two.")
    try:
        password = file.read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise StartupError(f"POSTBACK_EVENTS_PASSWORD_FILE names {file}, which can't be read ({why}).") from error
    if not password:
        raise StartupError(f"POSTBACK_EVENTS_PASSWORD_FILE names {file}, which is empty. Write the password into it.")
    return replace(url, password=password).text


def _body_memory(chosen: int | None, largest_body: int) -> int:
    """Room for two of the largest bodies of a key, which has half: one as it is sent, and one as it is decompressed."""
    least = 4 * largest_body
    if chosen is not None and chosen < least:
        raise StartupError(
            f"POSTBACK_BODY_MEMORY_BYTES is {chosen:,}, but must be at least four times POSTBACK_MAX_BODY_BYTES, which "
            f"is {least:,}; raise it or leave it unset."
        )
    return chosen or least


def _url_of(host: str, port: int) -> str:
    reachable = "localhost" if host in {"0.0.0.0", "::"} else host  # noqa: S104 - recognised, not listened on
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"
