"""A caller pins a release, a major or a pre-release, and is served what the specification says."""

from __future__ import annotations

from typing import Any

import pytest
from tests.acceptance.official import RELEASES as SCHEMA_RELEASES
from tests.acceptance.official import enumeration
from tests.unit.test_media_buys_store import media_buy

from postback.errors import InvalidRequest, UnsupportedVersion
from postback.media_buys.actions import available_actions, valid_actions
from postback.protocol.enums import (
    accepted_event_types,
    has_pricing_model,
    released_event_types,
    released_metrics,
    released_uid_types,
)
from postback.protocol.error_codes import code_for
from postback.protocol.releases import MAJOR_ONLY, Negotiated, negotiate

ACCEPTED = ("3.2-beta.5", "3.3-rc.1")


@pytest.mark.parametrize(
    ("pin", "release", "shown"),
    [
        ((None, None), None, None),
        (("3.0", None), "3.0", "3.0"),
        (("3.1", 3), "3.1", "3.1"),
        (("3.9", None), "3.2", "3.2"),
        ((None, 3), MAJOR_ONLY, "3.2"),
        (("3.2-beta.5", None), "3.2", "3.2-beta.5"),
        (("3.2-beta.5", 3), "3.2", "3.2-beta.5"),
        (("3.3-rc.1", None), "3.2", "3.3-rc.1"),
    ],
)
def test_a_pin_is_served(pin: tuple[Any, Any], release: str | None, shown: str | None) -> None:
    assert negotiate(*pin, ACCEPTED) == Negotiated(release, shown)


@pytest.mark.parametrize(
    "pin",
    [
        ("3.2-beta.4", None),
        ("3.2-beta.55", None),
        ("3.2-BETA.5", None),
        ("3.2.0-beta.5", None),
        ("3.1-beta.5", 3),
        ("3.2-beta.5", 4),
        ("2.5", None),
        (None, 2),
        (None, 4),
    ],
)
def test_a_pin_that_is_not_served_is_answered_with_those_that_are(pin: tuple[Any, Any]) -> None:
    with pytest.raises(UnsupportedVersion) as refused:
        negotiate(*pin, ACCEPTED)

    assert refused.value.details
    assert refused.value.details["supported_versions"] == ["3.0", "3.1", "3.2", *ACCEPTED]


def test_a_prerelease_is_refused_unless_it_is_listed() -> None:
    with pytest.raises(UnsupportedVersion):
        negotiate("3.2-beta.5", None)


@pytest.mark.parametrize("pin", [("3", None), (None, "3"), (None, True), (None, 3.5), ("3.2-", None)])
def test_a_pin_of_another_form_is_invalid(pin: tuple[Any, Any]) -> None:
    with pytest.raises(InvalidRequest):
        negotiate(*pin, ACCEPTED)


@pytest.mark.parametrize("release", SCHEMA_RELEASES)
def test_a_caller_that_pins_only_the_major_gets_no_value_that_an_older_release_lacks(release: str) -> None:
    assert set(released_event_types(MAJOR_ONLY)) <= enumeration(release, "event-type")
    assert set(released_uid_types(MAJOR_ONLY)) <= enumeration(release, "uid-type")
    newest = sorted(enumeration("3.2", "available-metric"))
    assert set(released_metrics(MAJOR_ONLY, newest)) <= enumeration(release, "available-metric")
    models = {model for model in enumeration("3.2", "pricing-model") if has_pricing_model(MAJOR_ONLY, model)}
    assert models <= enumeration(release, "pricing-model")


def test_it_may_send_what_the_newest_release_has() -> None:
    assert set(accepted_event_types(MAJOR_ONLY)) == enumeration("3.2", "event-type")


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("INVALID_EVENT_TYPE", "VALIDATION_ERROR"),
        ("EVENT_SOURCE_NOT_FOUND", "REFERENCE_NOT_FOUND"),
        ("BATCH_TOO_LARGE", "INVALID_REQUEST"),
        ("ACCOUNT_REQUIRED", "INVALID_REQUEST"),
        ("INVALID_PRICING_OPTION", "INVALID_REQUEST"),
        ("UNSUPPORTED_GRANULARITY", "UNSUPPORTED_FEATURE"),
    ],
)
def test_its_errors_have_the_newest_codes_that_every_release_has(reason: str, code: str) -> None:
    assert code_for(reason, MAJOR_ONLY) == code
    assert code in enumeration("3.0", "error-code")


def test_its_actions_have_the_names_of_the_oldest_release() -> None:
    buy = media_buy()

    assert set(valid_actions(buy, MAJOR_ONLY)) <= enumeration("3.0", "media-buy-valid-action")
    assert "update_name" not in available_actions(buy, MAJOR_ONLY)
