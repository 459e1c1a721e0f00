"""A developer pastes the snippet into a shell."""

from __future__ import annotations

import json
import subprocess
from datetime import datetime
from typing import Any

import msgspec
import pytest

from postback.event_sources.event_source import EventSource
from postback.event_sources.setup_snippets import TagScript, setup
from postback.event_sources.tag_settings import TagSettings

SCRIPT = TagScript("/tag/v/abc.js", "sha384-abc")

# Stands in for curl: prints what it was given, NUL-separated.
CURL = "curl() { printf '%s\\0' \"$@\"; }\n"


def pasted(source: EventSource, url: str = "https://track.seller.example") -> tuple[list[str], dict[str, Any]]:
    """The words that the shell hands to curl, and the body among them."""
    shell = subprocess.run(
        ["/bin/sh", "-c", CURL + command(source, url)],
        env={"PATH": "/usr/bin:/bin", "POSTBACK_KEY": "pb_secret"},
        capture_output=True,
        check=True,
    )
    words = shell.stdout.decode().split("\0")
    return words, json.loads(words[words.index("--data") + 1])


def command(source: EventSource, url: str) -> str:
    """The command that logs a test event; it stands beside the tag of a source that has one."""
    shown = setup(source, url, SCRIPT)
    return shown.snippet if shown.snippet_type == "server_only" else str(shown.server_snippet)


def source(**members: Any) -> EventSource:
    return EventSource(**({"account_id": "acme", "event_source_id": "web", "seller_id": "src_1"} | members))


def test_the_snippet_calls_this_server_with_the_key(tmp_path: object) -> None:
    words, _ = pasted(source())
    assert "https://track.seller.example/v1/log_event" in words
    assert "Authorization: Bearer pb_secret" in words


def test_the_snippet_logs_a_test_event_of_now() -> None:
    _, body = pasted(source())
    [event] = body["events"]
    assert (body["account"], body["event_source_id"]) == ({"account_id": "acme"}, "web")
    assert body["test_event_code"]
    assert datetime.fromisoformat(event["event_time"]).tzinfo


def test_the_event_is_one_that_the_source_takes() -> None:
    _, body = pasted(
        source(
            event_types=("purchase", "lead"),
            value_currencies=("EUR",),
            action_source="website",
            allowed_domains=("shop.acme.example",),
        )
    )
    [event] = body["events"]
    assert (event["event_type"], event["custom_data"]["currency"]) == ("purchase", "EUR")
    assert event["event_source_url"] == "https://shop.acme.example/checkout"


def test_an_in_store_lead_has_neither_page_nor_value() -> None:
    _, body = pasted(source(event_types=("lead",), action_source="in_store"))
    assert not {"event_source_url", "custom_data"} & set(body["events"][0])


def test_a_custom_event_has_its_name() -> None:
    _, body = pasted(source(event_types=("custom",)))
    assert body["events"][0]["custom_event_name"]


@pytest.mark.parametrize(
    "event_source_id",
    ["$(touch owned)", "`id`", 'it\'s "quoted"', "a\\b", "{now}", '"event_time": "', "ü€", "; exit 1"],
)
def test_no_id_means_anything_to_the_shell(event_source_id: str) -> None:
    _, body = pasted(source(event_source_id=event_source_id))
    assert body["event_source_id"] == event_source_id


WEBSITE = {"action_source": "website", "allowed_domains": ("shop.acme.example",)}


def test_a_website_gets_the_tag_with_the_digest_of_the_script() -> None:
    shown = setup(source(**WEBSITE), "https://track.seller.example/t", SCRIPT)

    assert shown.snippet_type == "javascript"
    assert 'src="https://track.seller.example/t/tag/v/abc.js" integrity="sha384-abc" crossorigin' in shown.snippet
    assert 'data-source="src_1" async' in shown.snippet


def test_the_example_in_the_tag_is_an_event_that_the_source_takes() -> None:
    shop = source(**WEBSITE, event_types=("purchase", "lead"), value_currencies=("EUR",))
    leads = source(**WEBSITE, tag=TagSettings(event_types=("lead",)))

    assert """postback('purchase', {"value": 49.95, "currency": "EUR", "order_id": "98765"})""" in (
        setup(shop, "https://track.seller.example", SCRIPT).snippet
    )
    assert "postback('lead', {})" in setup(leads, "https://track.seller.example", SCRIPT).snippet


def test_a_website_without_script_gets_the_pixel() -> None:
    shown = setup(source(**WEBSITE, tag=TagSettings(snippet_type="pixel_url")), "https://track.seller.example", SCRIPT)

    assert shown.snippet_type == "pixel_url"
    assert shown.snippet == (
        "https://track.seller.example/tag/src_1.gif?e=purchase&value=49.95&currency=USD&order_id=98765"
    )


@pytest.mark.parametrize(
    "members",
    [{}, {"action_source": "website"}, {"action_source": "in_store", "allowed_domains": ("shop.acme.example",)}],
    ids=["nothing is known", "no domains", "not a website"],
)
def test_other_sources_are_for_servers_only(members: dict[str, Any]) -> None:
    shown = setup(source(**members), "https://track.seller.example", SCRIPT)

    assert shown.snippet_type == "server_only"
    assert shown.server_snippet is msgspec.UNSET
