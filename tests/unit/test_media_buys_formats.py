"""A format's name says what it is in AdCP's words."""

from __future__ import annotations

from typing import Any

import pytest

from postback.media_buys.formats import format_options


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
    (option,) = format_options([name], "https://seller.example")

    assert (option["format_kind"], option["params"]) == (kind, params)
    assert option["v1_format_ref"] == [{"agent_url": "https://seller.example", "id": name}]


def test_a_name_that_tells_nothing_is_left_out() -> None:
    assert format_options(["skyscraper", "0x0", ""], "https://seller.example") == []
