"""An operator's alerts: where they go is declared beside forwards, and each change has one of its own."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from postback.errors import StartupError
from postback.event_sources.signals import SignalChange, SourceSignal
from postback.forwarding.alerts import alerts_of
from postback.forwarding.commands import CommandFailed, run_command
from postback.forwarding.destination import Destination, read_destinations
from postback.forwarding.encryption import Encryptor

ENCRYPTOR = Encryptor(b"secret" * 6)
SIGNAL = SourceSignal(
    "acme", "website", "offline", "imp_1", datetime(2026, 11, 27, 4, 17, 5, tzinfo=UTC), "No event since 04:00 UTC."
)


def declared(**alert: Any) -> Destination:
    entry = {"name": "slack", "url": "https://hooks.example/1"} | alert
    [destination] = read_destinations([], "seller.toml", {"HOOK": "https://hooks.example/secret"}, [entry]).alerts
    return destination


def bodies(*changes: SignalChange) -> list[dict[str, Any]]:
    found = alerts_of(ENCRYPTOR, [declared()], changes)
    return [msgspec.json.decode(ENCRYPTOR.decrypt(each.encrypted, each.delivery_id)) for each in found]


def test_an_alert_is_a_sentence_for_people_and_fields_for_programs() -> None:
    assert bodies(SignalChange(SIGNAL, "opened")) == [
        {
            "text": "Event source website of account acme has gone offline. No event since 04:00 UTC.",
            "account_id": "acme",
            "event_source_id": "website",
            "kind": "offline",
            "change": "opened",
            "signal_id": "imp_1",
            "observed_at": "2026-11-27T04:17:05Z",
            "reason": "No event since 04:00 UTC.",
        }
    ]


@pytest.mark.parametrize(
    ("kind", "what", "words"),
    [
        ("offline", "closed", "is back"),
        ("failure_rate", "closed", "no longer has more rejected events than usual"),
        ("match_rate", "closed", "no longer has fewer attributed events than usual"),
        ("match_rate", "deleted", "was deleted"),
    ],
)
def test_the_end_says_what_it_was_the_end_of(kind: Any, what: Any, words: str) -> None:
    [body] = bodies(SignalChange(SIGNAL._replace(kind=kind), what))

    assert body["text"] == (
        f"Event source website of account acme {words}. What was noticed at 2026-11-27 04:17 UTC is over."
    )


def test_a_change_that_is_told_again_has_the_same_identifier() -> None:
    opened, closed = SignalChange(SIGNAL, "opened"), SignalChange(SIGNAL, "closed")
    ids = [
        each.delivery_id for change in (opened, opened, closed) for each in alerts_of(ENCRYPTOR, [declared()], [change])
    ]

    assert ids[0] == ids[1] != ids[2]


def test_a_name_that_a_buyer_chose_is_no_mention_no_link_and_no_line_of_its_own() -> None:
    [body] = bodies(SignalChange(SIGNAL._replace(event_source_id="<!channel>\nroot"), "opened"))

    assert body["text"].startswith("Event source '&lt;!channel&gt;\\nroot' of account acme has gone offline.")
    assert body["event_source_id"] == "<!channel>\nroot"


def test_a_url_may_come_from_the_environment() -> None:
    assert declared(url="env:HOOK").url == "https://hooks.example/secret"


@pytest.mark.parametrize(
    ("alert", "wrong"),
    [
        ({"url": "http://hooks.example/1"}, "must begin with https://"),
        ({"url": "env:ABSENT"}, "refers to the environment variable ABSENT"),
        ({"event_source_id": "website"}, "event_source_id"),
        ({"name": "crm"}, "is already the name of an earlier destination"),
        ({"headers": {"Content-Type": "text/plain"}}, "is set by Postback itself"),
        ({"command": ["page"]}, "absolute path"),
        ({"command": ["/usr/bin/no-such-program"]}, "absolute path"),
        ({"command": []}, "command"),
        ({"command": ["/bin/sh"], "url": "https://hooks.example/1"}, "url"),
    ],
)
def test_a_wrong_destination_is_refused_at_the_start(alert: dict[str, Any], wrong: str) -> None:
    forward = {"name": "crm", "event_source_id": "website", "url": "https://crm.example"}
    entry = {"name": "slack", "url": "https://hooks.example/1"} | alert

    if "command" in alert and "url" not in alert:
        del entry["url"]

    with pytest.raises(StartupError, match=wrong) as error:
        read_destinations([forward], "seller.toml", {}, [entry])

    assert str(error.value).startswith("seller.toml: alerts[0]")


_PROGRAM = """#!/bin/sh
env > "$1.environ"
echo "$2" > "$1.argument"
cat > "$1"
"""


@pytest.mark.anyio
async def test_a_command_gets_the_alert_on_its_standard_input_and_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTBACK_SECRET", "of the server")
    program, told = tmp_path / "page", tmp_path / "told"
    program.write_text(_PROGRAM)
    program.chmod(0o700)

    await run_command([str(program), str(told), "$(id) `id` ;id"], b'{"text": "offline"}', "d1", 60)

    assert told.read_bytes() == b'{"text": "offline"}'
    assert (tmp_path / "told.argument").read_text() == "$(id) `id` ;id\n"
    environ = (tmp_path / "told.environ").read_text()
    assert "of the server" not in environ
    assert "IDEMPOTENCY_KEY=d1\n" in environ


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("command", "seconds", "why"),
    [
        (["/bin/sh", "-c", "exit 3"], 60, "ended with status 3"),
        (["/bin/sh", "-c", "sleep 600 & wait"], 0.2, "took longer"),
        (["/usr/bin/no-such-program"], 60, "could not be started"),
    ],
)
async def test_a_command_that_fails_says_why(command: list[str], seconds: float, why: str) -> None:
    with pytest.raises(CommandFailed, match=why):
        await run_command(command, b"{}" * 100_000, "d1", seconds)
