"""A batch of exposures is the same batch whenever it is judged and however it is written down."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import pytest

from postback.events.identifiers import IdentifierHasher
from postback.events.warnings import EXPOSURE_WARNINGS, group_warnings
from postback.exposures.validate import ExposureValidationResult, validate_exposures

NOW = datetime(2026, 1, 15, 14, 30, tzinfo=UTC)
SENT = '{"exposure_id":"1","kind":"click","occurred_at":"2026-01-15T14:45:00Z","media_buy_id":"m","package_id":"p"%s}'


def judged(more: str, now: datetime = NOW) -> ExposureValidationResult:
    raws = [msgspec.Raw((SENT % more).encode())]
    return validate_exposures(raws, IdentifierHasher(b"k" * 32), now, sandbox=False)


def test_a_batch_stays_the_same_when_its_verdict_changes_with_time() -> None:
    early, later = judged(""), judged("", NOW + timedelta(minutes=6))

    assert (len(early.failed), len(later.failed)) == (1, 0)
    assert early.fingerprint == later.fingerprint


@pytest.mark.parametrize("spelt", ["5e3", "5000.0"])
def test_an_amount_is_the_same_however_it_is_spelt(spelt: str) -> None:
    plain = judged(',"cost":5000,"currency":"USD"')

    assert judged(f',"currency":"USD", "cost" : {spelt}').fingerprint == plain.fingerprint


def test_an_unknown_member_makes_a_difference() -> None:
    assert judged(',"zz":1').fingerprint != judged(',"zz":2').fingerprint


_CLICK = ',"cost":0.5,"currency":"USD","user_match":%s'


@pytest.mark.parametrize(
    ("user_match", "code"),
    [
        ('{"hashed_email":"NULL"}', "JUNK_IDENTIFIER"),
        ('{"hashed_email":"{{hashed_email}}"}', "UNEXPANDED_MACRO"),
        ('{"click_id":"$CLICK_ID"}', "UNEXPANDED_MACRO"),
        ('{"client_ip":"10.0.0.1","client_user_agent":"Mozilla/5.0"}', "PRIVATE_IP"),
        ('{"client_ip":"203.0.113.7","client_user_agent":"undefined"}', "JUNK_IDENTIFIER"),
        ('{"client_ip":"203.0.113.7"}', "INCOMPLETE_IP_MATCH"),
        ('{"em":["5f3c"]}', "UNKNOWN_IDENTIFIER"),
        ("{}", None),
    ],
)
def test_an_exposure_without_a_usable_identifier_still_counts_as_delivery(user_match: str, code: str | None) -> None:
    result = judged(_CLICK % user_match, NOW + timedelta(minutes=6))

    [exposure] = result.accepted
    assert (exposure.match_keys, exposure.cost, exposure.currency) == (b"", Decimal("0.5"), "USD")
    assert result.warnings == {**({code: [0]} if code else {}), "MISSING_USER_MATCH": [0]}


@pytest.mark.parametrize(
    "user_match",
    ['{"hashed_email":"jane@shop.example"}', '{"click_id":"%2B12065551234"}', '{"em":["jane@shop.example"]}'],
)
def test_an_exposure_with_an_unhashed_identifier_fails(user_match: str) -> None:
    [failed] = judged(_CLICK % user_match, NOW + timedelta(minutes=6)).failed

    assert failed.rejection.reason == "INVALID_REQUEST"
    assert "jane" not in failed.rejection.message


@pytest.mark.parametrize("name", ["exposure_id", "creative_id", "media_buy_id", "package_id"])
@pytest.mark.parametrize("written", [str.lower, str.upper, "0x{}".format, "imp_{}".format])
@pytest.mark.parametrize("more", [{}, {"kind": "view"}])
def test_a_name_that_is_an_identifier_is_refused_and_not_repeated(
    name: str, written: Callable[[str], str], more: dict[str, str]
) -> None:
    digest = "5f3c1c1d5a8c1dd0e8c3f3d56ad2e6ac8f2b3c7d9e0a1b2c3d4e5f60718293a4"
    sent = {**json.loads(SENT % ""), "user_match": {"hashed_email": digest}, name: written(digest), **more}
    raws = [msgspec.Raw(json.dumps(sent).encode())]
    [failed] = validate_exposures(raws, IdentifierHasher(b"k" * 32), NOW + timedelta(minutes=6), sandbox=False).failed

    assert more or failed.rejection.field == name
    assert digest not in f"{failed.exposure_id} {failed.rejection.message}".lower()


def test_a_currency_with_a_space_is_trimmed() -> None:
    result = judged(',"cost":0.5,"currency":"USD "', NOW + timedelta(minutes=6))

    assert result.accepted[0].currency == "USD"
    assert result.warnings["REPAIRED_CURRENCY"] == [0]


def test_another_platforms_field_is_named_with_adcps() -> None:
    result = judged(',"user_match":{"em":["5f3c"],"Jane Doe":"x"}', NOW + timedelta(minutes=6))

    warnings = group_warnings(result.warnings, 1, "exposures", EXPOSURE_WARNINGS, result.subjects)
    assert "Fix: send hashed_email instead of em." in warnings[0]
    assert "Jane" not in str(warnings)
