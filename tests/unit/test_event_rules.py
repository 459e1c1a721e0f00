"""The rules that need the source, the clock or a list: each case is one event against one source."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from postback.event_sources.event_source import EventSource
from postback.events.identifiers import IdentifierHasher
from postback.events.rules import EventRules
from postback.events.validate import ValidationResult, validate_events
from postback.events.warnings import group_warnings

NOW = datetime(2026, 1, 20, 12, tzinfo=UTC)
EMAIL = "5f3c1c1d5a8c1dd0e8c3f3d56ad2e6ac8f2b3c7d9e0a1b2c3d4e5f60718293a4"
GOOD: dict[str, Any] = {
    "event_id": "order_1",
    "event_type": "purchase",
    "event_time": "2026-01-20T10:30:00Z",
    "action_source": "in_store",
    "user_match": {"hashed_email": EMAIL},
    "custom_data": {"value": 10, "currency": "USD"},
}
SHOP_ONLY = {"allowed_domains": ("shop.example",)}
DOLLARS_ONLY = {"value_currencies": ("USD",)}


def rules(*, sandbox: bool = False, require_user_match: bool = False, **source: Any) -> EventRules:
    made = EventSource(account_id="default", event_source_id="shop", seller_id="src_1", **source)
    return EventRules.of(made, now=NOW, sandbox=sandbox, max_age_days=90, require_user_match=require_user_match)


def verdicts(event: dict[str, Any], **source: Any) -> ValidationResult:
    members = {name: value for name, value in {**GOOD, **event}.items() if value is not ...}
    raw = msgspec.Raw(json.dumps(members).encode())
    return validate_events([raw], rules(**source), IdentifierHasher(b"s" * 32))


@pytest.mark.parametrize(
    ("event", "source", "reason", "field"),
    [
        ({"event_type": "buy"}, {}, "INVALID_EVENT_TYPE", "event_type"),
        ({"event_type": "lead"}, {"event_types": ("purchase",)}, "INVALID_EVENT_TYPE", "event_type"),
        ({"event_type": "custom"}, {}, "INVALID_REQUEST", "custom_event_name"),
        ({"event_type": "custom", "custom_event_name": " "}, {}, "INVALID_REQUEST", "custom_event_name"),
        ({"event_time": "2025-10-22T11:59:59Z"}, {}, "INVALID_EVENT_TIME", "event_time"),
        ({"event_time": "2026-01-18T11:59:59Z"}, {"max_event_age_days": 2}, "INVALID_EVENT_TIME", "event_time"),
        ({"event_time": "2026-01-20T12:10:01Z"}, {}, "INVALID_EVENT_TIME", "event_time"),
        ({"event_time": "9999-12-31T00:00:00Z"}, {"sandbox": True}, "INVALID_EVENT_TIME", "event_time"),
        ({"action_source": "billboard"}, {}, "INVALID_REQUEST", "action_source"),
        ({"event_source_url": "/checkout"}, {}, "INVALID_REQUEST", "event_source_url"),
        ({"event_source_url": "http://[::1"}, {}, "INVALID_REQUEST", "event_source_url"),
        ({"event_source_url": "https://evil.example/"}, SHOP_ONLY, "INVALID_REQUEST", "event_source_url"),
        ({"event_source_url": "https://notshop.example/"}, SHOP_ONLY, "INVALID_REQUEST", "event_source_url"),
        ({"event_source_url": "https://shop.example@evil.example/"}, SHOP_ONLY, "INVALID_REQUEST", "event_source_url"),
        ({"custom_data": {"value": 1, "currency": "US"}}, {}, "INVALID_REQUEST", "custom_data.currency"),
        ({"custom_data": {"value": 1, "currency": "ZZZ"}}, {}, "INVALID_REQUEST", "custom_data.currency"),
        ({"custom_data": {"value": 1, "currency": "usd"}}, {}, "INVALID_REQUEST", "custom_data.currency"),
        ({"custom_data": {"value": 1, "currency": "EUR"}}, DOLLARS_ONLY, "INVALID_REQUEST", "custom_data.currency"),
        ({"custom_data": {"value": 1}}, {"value_currencies": ("USD",)}, "INVALID_REQUEST", "custom_data.currency"),
        ({"user_match": ...}, {"require_user_match": True}, "MISSING_USER_MATCH", "user_match"),
        ({"user_match": {}}, {}, "MISSING_USER_MATCH", "user_match"),
        ({"user_match": {"click_id_type": "gclid"}}, {}, "MISSING_USER_MATCH", "user_match"),
        ({"event_id": "order\u0000"}, {}, "INVALID_REQUEST", "event_id"),
        ({"event_id": "jane@shop.example"}, {}, "INVALID_REQUEST", "event_id"),
        ({"event_id": "+12065551234"}, {}, "INVALID_REQUEST", "event_id"),
    ],
)  # fmt: skip
def test_an_event_that_breaks_a_rule_fails_with_its_reason_and_field(
    event: dict[str, Any], source: dict[str, Any], reason: str, field: str
) -> None:
    judged = verdicts(event, **source)
    assert judged.accepted.indexes == []
    assert [(f.rejection.reason, f.rejection.field) for f in judged.failed] == [(reason, field)]


@pytest.mark.parametrize(
    ("event", "source"),
    [
        ({}, {}),
        ({"event_type": "custom", "custom_event_name": "quiz_done"}, {}),
        ({"event_type": "watch_milestone"}, {}),
        ({"event_time": "2025-10-22T12:00:01Z"}, {}),
        ({"event_time": "2020-01-01T00:00:00Z"}, {"max_event_age_days": 9000}),
        ({"event_time": "2026-01-20T12:09:59Z"}, {}),
        ({"event_time": "2026-01-20T14:00:00+02:00"}, {}),
        ({"event_time": "2099-06-05T14:30:00Z"}, {"sandbox": True}),
        ({"event_source_url": "https://shop.example/a?b=c#d"}, {"allowed_domains": ("shop.example",)}),
        ({"event_source_url": "https://www.shop.example:8443/"}, {"allowed_domains": ("shop.example",)}),
        ({"event_source_url": "HTTPS://WWW.Shop.Example/"}, {"allowed_domains": ("shop.example",)}),
        ({"event_source_url": "https://www.straße.example/"}, {"allowed_domains": ("xn--strae-oqa.example",)}),
        ({"event_source_url": "https://bücher.example/danke"}, {"allowed_domains": ("xn--bcher-kva.example",)}),
        ({"event_source_url": "https://bücher.example/danke"}, {"allowed_domains": ("bücher.example",)}),
        ({"event_source_url": "https://www.bu\u0308cher.example/"}, {"allowed_domains": ("BÜCHER.example.",)}),
        ({"event_source_url": "https://b%C3%BCcher.example/"}, {"allowed_domains": ("xn--bcher-kva.example",)}),
        ({"event_source_url": "https://XN--BCHER-KVA.example./x"}, {"allowed_domains": ("bücher.example",)}),
        ({"event_source_url": "https://shop.example./x"}, {"allowed_domains": ("Shop.Example",)}),
        ({"event_source_url": "https://\uff33\uff28\uff2f\uff30.example/"}, {"allowed_domains": ("shop.example",)}),
        ({"event_source_url": "myapp://checkout/done"}, {}),
        ({"custom_data": {"value": 0, "currency": "EUR"}}, {"value_currencies": ("EUR", "USD")}),
        ({"event_id": "注文_98765"}, {}),
        ({"event_id": "purchase user 123"}, {}),
    ],
)
def test_an_event_within_the_rules_is_accepted(event: dict[str, Any], source: dict[str, Any]) -> None:
    judged = verdicts(event, **source)
    assert [f.rejection.message for f in judged.failed] == []


@pytest.mark.parametrize(
    ("event", "codes"),
    [
        ({"user_match": ...}, ["MISSING_USER_MATCH"]),
        ({"user_match": None}, ["MISSING_USER_MATCH"]),
        ({"action_source": "website"}, ["MISSING_EVENT_SOURCE_URL"]),
        ({"custom_data": {"value": 3}}, ["MISSING_CURRENCY"]),
        ({"custom_data": {"order_total": 3, "currency": "USD"}}, ["MISSING_VALUE"]),
        ({"custom_data": ..., "value": 3, "currency": "USD"}, ["MISPLACED_FIELD"]),
        ({"custom_data": {"value": 3, "currency": "USD", "note": "ask jane@shop.example"}}, ["REDACTED"]),
        ({"custom_data": {"value": 3, "currency": "USD", "gclid": "Cj0KCQ"}}, ["REDACTED"]),
        ({"referrer": {"email": "jane at shop"}}, ["REDACTED"]),
        ({"user_match": {"hashed_email": EMAIL, "external_id": "7"}}, ["UNKNOWN_IDENTIFIER"]),
    ],
)
def test_what_could_be_better_is_warned_about(event: dict[str, Any], codes: list[str]) -> None:
    judged = verdicts(event)
    assert judged.failed == []
    assert judged.warnings == {code: [0] for code in codes}


def test_a_page_is_stored_without_what_identifies_its_visitor() -> None:
    for sent, stored in {
        "https://shop.example/a/b?gclid=1&email=j%40x.example#top": "https://shop.example/a/b",
        "https://user:secret@shop.example/a": "https://shop.example/a",
        "https://shop.example/account/jane@shop.example/orders": "https://shop.example",
        "https://shop.example/account/jane%40shop.example": "https://shop.example",
        "https://shop.example": "https://shop.example",
        "https://Bücher.example:8443/a?b#c": "https://xn--bcher-kva.example:8443/a",
        "my-app://a_b/c": "my-app://a_b/c",
    }.items():
        assert verdicts({"event_source_url": sent}).accepted.columns["event_source_url"] == [stored]


def test_personal_data_outside_user_match_is_removed_and_the_rest_kept() -> None:
    custom_data = {
        "value": 3,
        "currency": "USD",
        "note": "call jane@shop.example or bob",
        "visitor": {"phone": "5551234"},
    }
    judged = verdicts({"custom_data": custom_data, "loyalty_hash": EMAIL, "zone": "north"})
    [custom_data_stored] = judged.accepted.columns["custom_data"]
    [extra_stored] = judged.accepted.columns["extra"]
    assert json.loads(custom_data_stored) == {
        "value": 3,
        "currency": "USD",
        "note": "call [redacted] or bob",
        "visitor": {"phone": "[redacted]"},
    }
    assert json.loads(extra_stored) == {"loyalty_hash": "[redacted]", "zone": "north"}


def test_a_failure_never_repeats_an_event_id_that_is_personal() -> None:
    [failed] = verdicts({"event_id": "jane@shop.example"}).failed
    assert failed.event_id is None
    assert "jane" not in failed.rejection.message


@pytest.mark.parametrize("identifier", ["hashed_email", "click_id"])
def test_an_event_id_that_repeats_an_identifier_is_refused_and_not_kept(identifier: str) -> None:
    [failed] = verdicts({"event_id": EMAIL, "user_match": {identifier: EMAIL}}).failed
    assert (failed.event_id, failed.rejection.field) == (None, "event_id")
    assert EMAIL not in failed.rejection.message


@pytest.mark.parametrize(("sent", "kept"), [("Purchase", "Purchase"), ("IwAR0123", None), (EMAIL, None)])
def test_a_mistaken_event_type_is_kept_unless_it_may_be_an_identifier(sent: str, kept: str | None) -> None:
    [failed] = verdicts({"event_type": sent}).failed
    assert failed.event_type == kept


def test_a_page_with_personal_data_in_its_path_is_stored_without_the_path() -> None:
    for path in (f"/u/{EMAIL}/thanks", "/u/jane@shop.example", "/call/+4930901000123"):
        judged = verdicts({"event_source_url": f"https://shop.example{path}"})
        assert judged.accepted.columns["event_source_url"] == ["https://shop.example"]


def test_the_source_says_where_events_happen_when_they_do_not() -> None:
    judged = verdicts({"action_source": ...}, action_source="app")
    assert judged.accepted.columns["action_source"] == ["app"]


@pytest.mark.parametrize(
    ("character", "described"),
    [
        ("\u200b", "U+200B (zero width space) at character 5"),
        ("\u00a0", "U+00A0 (no-break space) at character 5"),
        ("\u0000", "U+0000 (control character) at character 5"),
    ],
)
def test_the_message_names_an_unprintable_character_and_its_position(character: str, described: str) -> None:
    [failed] = verdicts({"event_id": f"1234{character}"}).failed
    assert failed.rejection.message == f"event_id contains {described}. Use printable characters only."


@pytest.mark.parametrize("days", [1, 90, 36_500])
def test_the_message_names_the_bound(days: int) -> None:
    oldest = NOW - timedelta(days=days)
    judged = verdicts({"event_time": "1969-12-31T23:59:59Z"}, max_event_age_days=days)
    assert (
        max(oldest, datetime(1970, 1, 1, tzinfo=UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
        in judged.failed[0].rejection.message
    )


def test_what_one_event_holds_changes_nothing_for_an_event_without_custom_data() -> None:
    telling = json.dumps({**GOOD, "custom_data": {"order_id": "jane@shop.example"}}).encode()
    bare = json.dumps({name: value for name, value in GOOD.items() if name != "custom_data"}).encode()

    judged = validate_events([msgspec.Raw(telling), msgspec.Raw(bare)], rules(), IdentifierHasher(b"s" * 32))

    assert judged.accepted.columns["custom_data"] == [b'{"order_id":"[redacted]"}', b""]
    assert judged.warnings["REDACTED"] == [0]


@pytest.mark.parametrize("more", [{}, {"order_total": 12.5}])
def test_a_currency_with_white_space_around_it_is_trimmed(more: dict[str, Any]) -> None:
    judged = verdicts({"custom_data": {"value": 3, "currency": "USD ", **more}}, **DOLLARS_ONLY)

    assert json.loads(judged.accepted.columns["custom_data"][0]) == {"value": 3, "currency": "USD", **more}
    assert judged.warnings == {"REPAIRED_CURRENCY": [0]}


@pytest.mark.parametrize("typed", [" caf\u00e9-1", "caf\u00e9-1\n", "cafe\u0301-1", "\tcafe\u0301-1 "])
def test_one_order_has_one_order_id_however_it_was_typed(typed: str) -> None:
    judged = verdicts({"custom_data": {"value": 10, "currency": "USD", "order_id": typed}})

    assert json.loads(judged.accepted.columns["custom_data"][0])["order_id"] == "caf\u00e9-1"
    assert judged.accepted.order_ids == ["caf\u00e9-1"]
    assert judged.warnings == {"REPAIRED_ORDER_ID": [0]}


def test_a_blank_order_id_names_no_order() -> None:
    judged = verdicts({"custom_data": {"value": 10, "currency": "USD", "order_id": " \t"}})

    assert judged.warnings == {"JUNK_ORDER_ID": [0]}


_NO_JSON_NUMBER = "must be a JSON number, for example 12.50 without quotes and with a point before the decimals"
_REFUND = (
    "custom_data.value must not be negative. To take back a purchase, send an event of event_type refund with the "
    "amount as a positive number and the order_id of the purchase."
)


@pytest.mark.parametrize(
    ("event", "message"),
    [
        *(
            ({"custom_data": {"value": text}}, f"custom_data.value {_NO_JSON_NUMBER}; it is a string.")
            for text in ("12.50", "4,245.42", "1.234,56", "$12.50", "")
        ),
        (
            {"custom_data": {"value": True}},
            "custom_data.value must be a JSON number, for example 12.50; it is a boolean.",
        ),
        (
            {"custom_data": {"value": [12.5]}},
            "custom_data.value must be a JSON number, for example 12.50; it is an array.",
        ),
        (
            {"custom_data": {"value": {"amount": 7}}},
            "custom_data.value must be a JSON number, for example 12.50; it is an object.",
        ),
        ({"custom_data": {"value": -20}}, _REFUND),
        ({"custom_data": {"value": -0.01, "currency": "USD"}, "event_type": "refund"}, _REFUND),
        ({"value": -20}, _REFUND),
        (
            {"custom_data": {"value": 1e15}},
            "custom_data.value must be less than 1,000,000,000,000,000.",
        ),
        (
            {"custom_data": {"order_id": 1001}},
            'custom_data.order_id must be a string in quotes; it is an integer.',
        ),
        (
            {"custom_data": {"content_ids": [1, 2]}},
            'custom_data.content_ids[0] must be a string in quotes; it is an integer.',
        ),
        (
            {"custom_data": {"content_ids": "a-1"}},
            "custom_data.content_ids must be an array; it is a string.",
        ),
        (
            {"custom_data": {"content_ids": [None]}},
            "custom_data.content_ids[0] must be a string; it is null. Omit it if it has no value.",
        ),
        (
            {"custom_data": {"num_items": "3"}},
            "custom_data.num_items must be a JSON integer, for example 3 without quotes; it is a string.",
        ),
        ({"custom_data": {"num_items": 1.5}}, "custom_data.num_items must be an integer; it is a number."),
        ({"custom_data": "12.50"}, "custom_data must be an object, not a string."),
        (
            {"event_id": 123456},
            'event_id must be a string of 1 to 256 characters, for example "order_1001". Put a number in quotes.',
        ),
        (
            {"event_id": ["1"]},
            'event_id must be a string of 1 to 256 characters, for example "order_1001". Put a number in quotes.',
        ),
        ({"user_match": []}, "user_match must be an object; it is an array."),
        (
            {"user_match": {"hashed_email": ["5f3c"]}},
            "user_match.hashed_email must be a string; it is an array.",
        ),
        (
            {"custom_data": {"value": 1, "currency": "usd"}},
            "custom_data.currency is not an ISO 4217 currency code. Send USD.",
        ),
        (
            {"custom_data": {"value": 1, "currency": "Dollar"}},
            "custom_data.currency is not an ISO 4217 currency code. Send a code such as USD.",
        ),
    ],
)  # fmt: skip
def test_a_message_says_what_is_wrong_and_what_to_send_instead(event: dict[str, Any], message: str) -> None:
    [failed] = verdicts({"custom_data": {}, **event}).failed

    assert failed.rejection.message == message


@pytest.mark.parametrize(
    ("user_match", "fix"),
    [
        ({"em": [EMAIL]}, "send hashed_email instead of em"),
        ({"sha256_email_address": EMAIL}, "send hashed_email instead of sha256_email_address"),
        ({"ph": EMAIL, "external_id": "7"}, "send uids instead of external_id, hashed_phone instead of ph"),
        ({"fbc": "fb.1.1.IwAR"}, "send click_id instead of fbc"),
        ({"EM": EMAIL}, "send hashed_email instead of em"),
        ({"shoe_size": 42}, "send AdCP's identifiers, for example hashed_email"),
    ],
)
def test_another_platforms_field_is_named_with_adcps(user_match: dict[str, Any], fix: str) -> None:
    beside = verdicts({"user_match": {"hashed_phone": EMAIL, **user_match}})
    assert f"Fix: {fix}." in group_warnings(beside.warnings, 1, subjects=beside.subjects)[0]

    [alone] = verdicts({"user_match": user_match}).failed
    assert alone.rejection.reason == "MISSING_USER_MATCH"
    assert "UNKNOWN_IDENTIFIER" in alone.rejection.message
    for name in user_match.keys() - {"shoe_size"}:
        assert f"AdCP has no field {name.lower()}" in alone.rejection.message


def test_a_warning_names_the_fields_that_it_is_about() -> None:
    judged = verdicts({"user_match": {"hashed_email": EMAIL, "click_id": "null", "hashed_phone": "NULL"}})

    [warning] = group_warnings(judged.warnings, 1, subjects=judged.subjects)
    assert "it was dropped (click_id, hashed_phone). Fix: " in warning
