"""An operator sets POSTBACK_* variables and starts the server."""

from __future__ import annotations

from pathlib import Path

import pytest

from postback.config import SETTINGS, load_settings
from postback.errors import StartupError


def test_nothing_set_gives_a_local_server() -> None:
    settings = load_settings({"PATH": "/usr/bin"})

    assert settings.data == Path("postback-data").absolute()
    assert (settings.host, settings.port, settings.public_url) == ("127.0.0.1", 8787, "http://127.0.0.1:8787")
    assert (settings.sandbox, settings.require_user_match) == (False, False)
    assert (settings.rate_limit, settings.rate_limit_events) == (6000, 3_000_000)
    assert (settings.max_event_age_days, settings.max_body_bytes, settings.queue_events) == (90, 64_000_000, 200_000)
    assert (settings.bootstrap_key, settings.seller_config, settings.log_level) == (None, None, "info")
    assert settings.log_format == "text"
    assert (settings.allowed_origins, settings.prereleases) == ((), ())
    assert (settings.key_concurrency, settings.body_memory_bytes) == (512, 256_000_000)


def test_memory_for_bodies_must_suffice_for_the_largest() -> None:
    with pytest.raises(StartupError, match="at least four times POSTBACK_MAX_BODY_BYTES, which is 4,000,000"):
        load_settings({"POSTBACK_MAX_BODY_BYTES": "1000000", "POSTBACK_BODY_MEMORY_BYTES": "3999999"})

    assert load_settings({"POSTBACK_MAX_BODY_BYTES": "1000000"}).body_memory_bytes == 4_000_000


def test_every_setting_has_its_variable(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("0123456789ABCDEF" * 4)
    password = tmp_path / "password"
    password.write_text("pass/word\n")
    given = {
        "POSTBACK_DATA": "/srv/postback",
        "POSTBACK_HOST": "0.0.0.0",
        "POSTBACK_CONTROL_OUTAGE_SECONDS": "60",
        "POSTBACK_ROLE": "Ingest",
        "POSTBACK_PROCESSES": "4",
        "POSTBACK_PORT": "9000",
        "POSTBACK_SANDBOX": "Yes",
        "POSTBACK_PUBLIC_URL": "https://events.seller.example/",
        "POSTBACK_CONTROL": "postgresql://postback@db.example/postback",
        "POSTBACK_SECRET": "",
        "POSTBACK_SECRET_FILE": str(tmp_path / "secret"),
        "POSTBACK_EVENTS": "clickhouse://postback@ch.example/postback",
        "POSTBACK_EVENTS_PASSWORD_FILE": str(password),
        "POSTBACK_ALLOWED_ORIGINS": "https://tools.example, HTTP://Localhost:6274/",
        "POSTBACK_TRUSTED_PROXIES": "10.0.0.7, 2001:db8::/32",
        "POSTBACK_CLICKS_PER_HOUR": "20",
        "POSTBACK_PRERELEASES": "3.2-beta.5,3.3-rc.1",
        "POSTBACK_BOOTSTRAP_KEY": "a-key-of-32-characters-or-even-more",
        "POSTBACK_SELLER_CONFIG": "/etc/postback.toml",
        "POSTBACK_SIGNING_KEYS": "/etc/signing-keys.json",
        "POSTBACK_PRODUCTS": "/etc/products.toml",
        "POSTBACK_SANDBOX_ACCOUNTS": "true",
        "POSTBACK_PENDING_ACCOUNTS": "5",
        "POSTBACK_EVENT_SOURCES": "6",
        "POSTBACK_MEDIA_BUYS": "7",
        "POSTBACK_RATE_LIMIT": "0",
        "POSTBACK_RATE_LIMIT_EVENTS": "50000",
        "POSTBACK_KEY_CONCURRENCY": "64",
        "POSTBACK_MAX_EVENT_AGE_DAYS": "9000",
        "POSTBACK_RETENTION_DAYS": "400",
        "POSTBACK_REQUIRE_USER_MATCH": "on",
        "POSTBACK_MAX_BODY_BYTES": "1000000",
        "POSTBACK_BODY_MEMORY_BYTES": "9000000",
        "POSTBACK_RESPONSE_QUOTA_BYTES": "1000",
        "POSTBACK_QUEUE_EVENTS": "50000",
        "POSTBACK_METRICS_TOKEN": "a-token-of-32-characters-or-more",
        "POSTBACK_VALIDATION_WORKERS": "3",
        "POSTBACK_TAG_RATE_LIMIT": "60",
        "POSTBACK_LOG_LEVEL": "WARNING",
        "POSTBACK_LOG_FORMAT": "JSON",
    }
    assert given.keys() == {setting.variable for setting in SETTINGS}

    settings = load_settings(given)

    assert settings.data == Path("/srv/postback")
    assert settings.secret == "0123456789abcdef" * 4
    assert (settings.host, settings.port) == ("0.0.0.0", 9000)
    assert settings.events == "clickhouse://postback:pass%2Fword@ch.example:8123/postback"
    assert settings.public_url == "https://events.seller.example"
    assert settings.allowed_origins == ("https://tools.example", "http://localhost:6274")
    assert (settings.trusted_proxies, settings.clicks_per_hour) == (("10.0.0.7/32", "2001:db8::/32"), 20)
    assert settings.prereleases == ("3.2-beta.5", "3.3-rc.1")
    assert settings.bootstrap_key == "a-key-of-32-characters-or-even-more"
    assert settings.seller_config == Path("/etc/postback.toml")
    assert settings.products == Path("/etc/products.toml")
    assert (settings.sandbox, settings.require_user_match, settings.log_level) == (True, True, "warning")
    assert settings.log_format == "json"
    assert (settings.rate_limit, settings.rate_limit_events, settings.max_event_age_days) == (0, 50_000, 9000)
    assert settings.tag_rate_limit == 60
    assert (settings.max_body_bytes, settings.queue_events) == (1_000_000, 50_000)
    assert (settings.key_concurrency, settings.body_memory_bytes) == (64, 9_000_000)
    assert settings.response_quota_bytes == 1_000
    assert settings.metrics_token == "a-token-of-32-characters-or-more"
    assert (settings.sandbox_accounts, settings.pending_accounts) == (True, 5)
    assert (settings.event_sources, settings.media_buys) == (6, 7)


def test_an_option_of_the_command_wins_over_its_variable() -> None:
    settings = load_settings({"POSTBACK_PORT": "9000", "POSTBACK_HOST": "::1"}, port=9001, host=None)

    assert settings.public_url == "http://[::1]:9001"


def test_an_empty_variable_counts_as_unset() -> None:
    assert load_settings({"POSTBACK_SELLER_CONFIG": "", "POSTBACK_PORT": ""}).port == 8787


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("POSTBACK_PORT", "http", "a whole number from 1 to 65,535"),
        ("POSTBACK_PORT", "65536", "a whole number from 1 to 65,535"),
        ("POSTBACK_RATE_LIMIT", "-1", "a whole number from 0"),
        ("POSTBACK_SANDBOX", "maybe", "true or false"),
        ("POSTBACK_TRUSTED_PROXIES", "proxy.example", "IP addresses or networks"),
        ("POSTBACK_PUBLIC_URL", "events.seller.example", "starts with http://"),
        ("POSTBACK_PUBLIC_URL", "https://[broken", "starts with http://"),
        ("POSTBACK_HOST", "http://127.0.0.1", "a host name or an IP address"),
        ("POSTBACK_LOG_LEVEL", "loud", "one of debug, info, warning, error"),
        ("POSTBACK_ALLOWED_ORIGINS", "tools.example", "origins, separated by commas"),
        ("POSTBACK_ALLOWED_ORIGINS", "https://tools.example/page", "origins, separated by commas"),
        ("POSTBACK_ALLOWED_ORIGINS", "*", "origins, separated by commas"),
        ("POSTBACK_PRERELEASES", "3.2", "pre-releases of AdCP"),
        ("POSTBACK_PRERELEASES", "3.2.0-beta.5", "pre-releases of AdCP"),
        ("POSTBACK_PRERELEASES", "4.0-beta.1", "pre-releases of AdCP"),
    ],
)
def test_a_wrong_value_is_named_with_what_it_must_be(variable: str, value: str, expected: str) -> None:
    with pytest.raises(StartupError) as error:
        load_settings({variable: value})

    assert f"{variable} is '{value}'" in str(error.value)
    assert expected in str(error.value)


def test_a_misspelt_variable_is_answered_with_the_closest_setting() -> None:
    with pytest.raises(StartupError, match=r"POSTBACK_MAX_EVENT_AGE is not .* closest is POSTBACK_MAX_EVENT_AGE_DAYS"):
        load_settings({"POSTBACK_MAX_EVENT_AGE": "30"})


def test_the_key_of_a_sender_in_the_same_shell_is_no_mistake() -> None:
    load_settings({"POSTBACK_KEY": "pb_someone", "POSTBACK_URL": "http://127.0.0.1:8787"})


def test_a_refused_key_is_not_shown() -> None:
    with pytest.raises(StartupError) as error:
        load_settings({"POSTBACK_BOOTSTRAP_KEY": "hunter2"})

    assert "POSTBACK_BOOTSTRAP_KEY must be at least 32" in str(error.value)
    assert "hunter2" not in str(error.value)


def test_an_accepted_key_does_not_show_in_the_settings_text() -> None:
    assert "a-key-of-32" not in repr(load_settings({"POSTBACK_BOOTSTRAP_KEY": "a-key-of-32-characters-or-even-more"}))


def test_events_are_in_the_server_unless_a_clickhouse_is_named() -> None:
    assert load_settings({}).events is None
    assert load_settings({"POSTBACK_EVENTS": "chdb://"}).events is None
    assert load_settings({"POSTBACK_EVENTS": "clickhouse://me:%40@[::1]/db_1"}).events == (
        "clickhouse://me:%40@[::1]:8123/db_1"
    )
    assert load_settings({"POSTBACK_EVENTS": "clickhouses://me:x@ch.example/db?ca_cert=/etc/ca.pem"}).events == (
        "clickhouses://me:x@ch.example:8443/db?ca_cert=/etc/ca.pem"
    )


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://me:hunter2@ch.example/db", "must begin with clickhouse://"),
        ("chdb:///srv/events", "must begin with clickhouse://"),
        ("clickhouse://", "names no host"),
        ("clickhouse://ch.example/db", "names no user"),
        ("clickhouse://me:hunter2@ch.example", "must name a database"),
        ("clickhouse://me:hunter2@ch.example/", "must name a database"),
        ("clickhouse://me:hunter2@ch.example/my-db", "must name a database of letters, digits and underscores"),
        ("clickhouse://me:hunter2@ch.example/db/x", "must name a database"),
        ("clickhouse://me:hunter2@ch.example:9000/db", "port 9000, which speaks ClickHouse's native protocol"),
        ("clickhouse://me:hunter2@ch.example:99999/db", "a port or a host that can't be read"),
        ("clickhouse://me:hunter2/x@ch.example/db", "%2F for a slash"),
        ("clickhouse://me:hunter2@[::1/db", "a port or a host that can't be read"),
        ("clickhouse://me:hunter2@ch.example/db?secure=1", "ca_cert=FILE is the only one"),
        ("clickhouse://me:hunter2@ch.example/db#x", "has options that are not known"),
        ("clickhouse://me:hunter2@ch.example/db?ca_cert=x", "which only clickhouses:// uses"),
    ],
)
def test_a_wrong_address_of_clickhouse_is_explained_without_its_password(url: str, expected: str) -> None:
    with pytest.raises(StartupError) as error:
        load_settings({"POSTBACK_EVENTS": url})

    assert str(error.value).startswith("POSTBACK_EVENTS ")
    assert expected in str(error.value)
    assert "hunter2" not in str(error.value)


def test_a_password_from_a_file_is_needed_and_given_once(tmp_path: Path) -> None:
    file = tmp_path / "password"
    address = {"POSTBACK_EVENTS": "clickhouse://me@ch.example/db", "POSTBACK_EVENTS_PASSWORD_FILE": str(file)}
    with pytest.raises(StartupError, match=r"can't be read \(No such file or directory\)"):
        load_settings(address)
    file.write_text("\n")
    with pytest.raises(StartupError, match="is empty"):
        load_settings(address)
    file.write_text("hunter2")
    with pytest.raises(StartupError, match="has a password already"):
        load_settings(address | {"POSTBACK_EVENTS": "clickhouse://me:x@ch.example/db"})
    with pytest.raises(StartupError, match="is chdb://, which needs none"):
        load_settings({"POSTBACK_EVENTS_PASSWORD_FILE": str(file)})

    assert "hunter2" not in repr(load_settings(address))
