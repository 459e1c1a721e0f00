"""A format's name says what it is in AdCP's words."""

from __future__ import annotations

from typing import Any

import pytest

from postback.products.formats import FormatId, canonical_url, format_options

SELLER = "https://seller.example"


@pytest.mark.parametrize(
    ("name", "kind", "params"),
    [
        ("display_300x250", "image", {"width": 300, "height": 250}),
        ("html5_728x90", "html5", {"width": 728, "height": 90}),
        ("video_30s", "video_hosted", {"duration_ms_exact": 30_000}),
        ("video_skippable_15s", "video_hosted", {"duration_ms_exact": 15_000}),
        ("audio_5s", "audio_hosted", {"duration_ms_exact": 5_000}),
        ("native_feed_1x1", "native_in_feed", {}),
        ("display_responsive", "image", {}),
    ],
)
def test_a_name_that_tells_is_declared(name: str, kind: str, params: dict[str, Any]) -> None:
    format_id = FormatId(agent_url=SELLER, id=name)

    (option,) = format_options([format_id])

    assert (option.format_kind, option.params) == (kind, params)
    assert option.v1_format_ref == (format_id,)


def test_a_name_that_tells_nothing_is_left_out() -> None:
    assert format_options([FormatId(agent_url=SELLER, id=name) for name in ("skyscraper", "0x0", "")]) == ()


def test_two_agents_format_of_one_name_is_declared_once() -> None:
    theirs = FormatId(agent_url="https://creative.example", id="video_30s")
    ours = FormatId(agent_url=SELLER, id="video_30s")

    (option,) = format_options([theirs, ours])

    assert option.v1_format_ref == (theirs, ours)


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("https://Creative.Example", "https://creative.example"),
        ("HTTPS://creative.example:443/", "https://creative.example"),
        ("http://creative.example:8080/a/", "http://creative.example:8080/a"),
        ("https://creative.example/A?b=C", "https://creative.example/A?b=C"),
        ("https://[creative", "https://[creative"),
    ],
)
def test_agents_are_compared_by_what_their_urls_mean(url: str, canonical: str) -> None:
    assert canonical_url(url) == canonical
