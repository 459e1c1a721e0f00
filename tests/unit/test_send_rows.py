"""A person with an export of a shop says which column is what, and gets the events that a developer would have sent."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from postback.cli.send.batches import Batch, Line, read_lines
from postback.cli.send.cells import Amounts, Hasher, Times
from postback.cli.send.mapper import RowMapper
from postback.cli.send.mapping import ColumnMapping, load_mapping, merged, parse_hash, save_mapping
from postback.cli.send.presets import PRESETS
from postback.cli.send.rejects import RejectsFile
from postback.cli.send.summary import LogResponse, SendSummary, describe_rows
from postback.errors import StartupError
from postback.events.rejection import Rejection
from postback.record_files.record_file import RecordFile

ADA = sha256(b"ada@buyer.example").hexdigest()
PHONE = sha256(b"+4915123456789").hexdigest()


@pytest.mark.parametrize(
    ("decimal", "text", "amount"),
    [
        (None, "12.50", "12.50"),
        (None, "12", "12"),
        (None, "1 234.50", "1234.50"),
        (None, "1'234.50", "1234.50"),
        (None, "-20", "-20"),
        (None, "0.0035", "0.0035"),
        (".", "1,234.56", "1234.56"),
        (".", "1,234", "1234"),
        (".", "1,234,567", "1234567"),
        (",", "12,50", "12.50"),
        (",", "1.234,56", "1234.56"),
        (",", "1.234", "1234"),
        (",", "1 234,56", "1234.56"),
        (",", "1\u202f234,56", "1234.56"),
        (",", "1234567,8", "1234567.8"),
    ],
)
def test_amounts_are_read_in_the_way_that_was_named(decimal: str | None, text: str, amount: str) -> None:
    assert Amounts(decimal).read(text, "value") == Decimal(amount)


@pytest.mark.parametrize(
    ("decimal", "text", "told"),
    [
        (None, "12,50", "Add --decimal , or --decimal ."),
        (None, "1,234.56", "Add --decimal , or --decimal ."),
        (None, "$12.50", "currency symbol or letters"),
        (None, "12.50 EUR", "currency symbol or letters"),
        (",", "€ 12,50", "currency symbol or letters"),
        (",", "12.50", "not a number with ',' as its decimal sign"),
        (".", "12,50", "not a number with '.' as its decimal sign"),
        (".", "1.234,56", "not a number with '.' as its decimal sign"),
        (".", "12,3456", "not a number"),
        (".", "1,23,456.00", "not a number"),
        (None, "1.2E+06", "a spreadsheet has cut it"),
        (None, "(20.00)", "not a number"),
        (None, "n/a", "currency symbol or letters"),
        (None, "١٢", "not a number"),
        (None, "12.", "not a number"),
    ],
)
def test_an_amount_that_could_mean_something_else_is_refused(decimal: str | None, text: str, told: str) -> None:
    with pytest.raises(Rejection) as rejection:
        Amounts(decimal).read(text, "custom_data.value")
    assert told in rejection.value.message
    assert text not in rejection.value.message
    assert rejection.value.field == "custom_data.value"


@given(st.decimals(-(10**9), 10**9, places=2), st.sampled_from(".,"), st.sampled_from(["", "other", " ", "'"]))
def test_an_amount_is_what_was_written(amount: Any, decimal: str, groups: str) -> None:
    other = "." if decimal == "," else ","
    text = f"{amount:,.2f}".replace(",", "_").replace(".", decimal).replace("_", other if groups == "other" else groups)
    assert Amounts(decimal).read(text, "value") == amount


BERLIN = "Europe/Berlin"


@pytest.mark.parametrize(
    ("zone", "formats", "text", "time"),
    [
        (None, (), "2026-01-15T10:30:00Z", "2026-01-15T10:30:00Z"),
        (None, (), "2025-10-07 09:50:26 +0200", "2025-10-07T09:50:26+02:00"),
        (None, (), "2026-01-15 10:30:00 UTC", "2026-01-15T10:30:00Z"),
        (None, (), "2026-01-15T10:30:00.123456789-05", "2026-01-15T10:30:00.123456-05:00"),
        (BERLIN, (), "2026-01-15 10:30", "2026-01-15T10:30:00+01:00"),
        (BERLIN, (), "2026-07-15 10:30:00", "2026-07-15T10:30:00+02:00"),
        (BERLIN, (), "2026-10-25 02:30:00", "2026-10-25T02:30:00+02:00"),
        (BERLIN, (), "2026-01-15 10:30:00Z", "2026-01-15T10:30:00Z"),
        (BERLIN, ("%d.%m.%Y %H:%M",), "15.01.2026 10:30", "2026-01-15T10:30:00+01:00"),
        (BERLIN, ("%d.%m.%Y", "%d.%m.%Y %H:%M"), "15.01.2026", "2026-01-15T00:00:00+01:00"),
        ("America/New_York", ("%m/%d/%Y %I:%M %p",), "1/15/2026 3:05 PM", "2026-01-15T15:05:00-05:00"),
        (None, ("unix",), "1768473000", "2026-01-15T10:30:00Z"),
        (None, ("unix_ms",), "1768473000500", "2026-01-15T10:30:00.500000Z"),
        (BERLIN, ("unix",), "2026-01-15 10:30", "2026-01-15T10:30:00+01:00"),
    ],
)
def test_times_are_read_where_their_clock_stood(
    zone: str | None, formats: tuple[str, ...], text: str, time: str
) -> None:
    assert Times(zone, formats).read(text, "event_time") == time


@pytest.mark.parametrize(
    ("zone", "formats", "text", "told"),
    [
        (None, (), "2026-01-15 10:30:00", "has no UTC offset"),
        (BERLIN, (), "2026-03-29 02:30:00", "did not exist in Europe/Berlin"),
        (BERLIN, (), "2026-02-30 10:30:00", "does not exist"),
        (BERLIN, (), "2026-13-01 10:30:00", "does not exist"),
        (BERLIN, (), "2026-01-15", "a date without a time"),
        (BERLIN, (), "1768473000", "--time-format unix or unix_ms"),
        (BERLIN, (), "15.01.2026 10:30", "--time-format, for example '%d.%m.%Y %H:%M'"),
        (BERLIN, ("%d.%m.%Y",), "15/01/2026", "not written as --time-format says"),
    ],
)
def test_a_time_that_cannot_be_read_is_told(zone: str | None, formats: tuple[str, ...], text: str, told: str) -> None:
    with pytest.raises(Rejection) as rejection:
        Times(zone, formats).read(text, "event_time")
    assert told in rejection.value.message
    assert text not in rejection.value.message
    assert rejection.value.reason == "INVALID_EVENT_TIME"


def test_times_of_the_hour_that_happens_twice_are_counted() -> None:
    times = Times(BERLIN, ())
    for text in ("2026-10-25 01:59:00", "2026-10-25 02:00:00", "2026-10-25 02:59:59", "2026-10-25 03:00:00"):
        times.read(text, "event_time")
    assert times.repeated == 2


@pytest.mark.parametrize(
    ("country", "kind", "text", "digest", "outcome"),
    [
        (None, "email", " Ada@Buyer.Example ".strip(), ADA, "hashed"),
        (None, "email", "mailto:ada@buyer.example", ADA, "hashed"),
        (None, "email", ADA, ADA, "digest"),
        (None, "email", "", None, "empty"),
        (None, "email", "ada", None, "unusable"),
        (None, "email", "ada@buyer", None, "unusable"),
        (None, "email", "ada@buyer.example, grace@buyer.example", None, "unusable"),
        ("DE", "phone", "0151 23456789", PHONE, "hashed"),
        ("DE", "phone", "+49 (151) 2345-6789", PHONE, "hashed"),
        ("DE", "phone", "0049 151 23456789", PHONE, "hashed"),
        ("de", "phone", "'+4915123456789", PHONE, "hashed"),
        (None, "phone", "+49 151 23456789", PHONE, "hashed"),
        (None, "phone", "0151 23456789", None, "unusable"),
        ("DE", "phone", "12", None, "unusable"),
        ("DE", "phone", "4.91512E+12", None, "unusable"),
        ("DE", "phone", "unknown", None, "unusable"),
    ],
)
def test_identifiers_are_hashed_in_the_form_that_all_senders_use(
    country: str | None, kind: str, text: str, digest: str | None, outcome: str
) -> None:
    hasher = Hasher(country)
    assert hasher.digest(kind, text) == digest
    assert hasher.counts == Counter({(kind, outcome): 1})


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Times("Berlin/Europe", ()), "Use a name such as Europe/Berlin"),
        (lambda: Times("../../etc/passwd", ()), "Use a name such as Europe/Berlin"),
        (lambda: Hasher("Germany"), "two-letter country code"),
        (lambda: parse_hash(["address"]), "--hash takes email and phone"),
    ],
)
def test_an_option_that_names_nothing_is_told(make: Any, told: str) -> None:
    with pytest.raises(StartupError, match=told):
        make()


FIELDS = {"event_id": "Order", "event_time": "Date", "custom_data.value": "Total"}
ALL = {"event_type": "purchase", "custom_data.currency": "EUR"}


def events(
    text: str | bytes, mapping: ColumnMapping, name: str = "orders.csv"
) -> tuple[list[Any], list[tuple[int, str, str]], list[str]]:
    """The events of a file, its failures by line, and what is said about its rows."""
    file = RecordFile(io.BytesIO(text.encode() if isinstance(text, str) else text), name)
    mapper = RowMapper(mapping, file.columns, file.name, file.describe_columns())
    failed: list[tuple[int, str, str]] = []
    lines = list(read_lines(file, mapper, lambda _, line, r: failed.append((line, r.field, r.message))))
    return [json.loads(line.event) for line in lines], failed, list(describe_rows(mapper))


def test_rows_become_events() -> None:
    text = (
        "Order;Date;Total;E-Mail;Telefon;SKU;Internal\n"
        "1001;2026-01-15 10:30;1.234,56; Ada@Buyer.example;0151 23456789;sku-7;secret\n"
        "1002;2026-01-15 11:30;;;;;\n"
        "1003;2026-01-15 11:30;12.50;;;;\n"
    )
    mapping = ColumnMapping(
        map={**FIELDS, "custom_data.content_ids": "SKU", "user_match.uid.rampid": "SKU", "custom_data.shop": "SKU"},
        set=ALL,
        hash={"email": "E-Mail", "phone": "Telefon"},
        timezone=BERLIN,
        decimal=",",
        country="DE",
    )
    found, failed, told = events(text, mapping)
    assert found == [
        {
            "event_id": "1001",
            "event_type": "purchase",
            "event_time": "2026-01-15T10:30:00+01:00",
            "custom_data": {"value": 1234.56, "currency": "EUR", "content_ids": ["sku-7"], "shop": "sku-7"},
            "user_match": {
                "hashed_email": ADA,
                "hashed_phone": PHONE,
                "uids": [{"type": "rampid", "value": "sku-7"}],
            },
        },
        {
            "event_id": "1002",
            "event_type": "purchase",
            "event_time": "2026-01-15T11:30:00+01:00",
            "custom_data": {"currency": "EUR"},
        },
    ]
    assert [(line, field) for line, field, _ in failed] == [(4, "custom_data.value")]
    assert told[0] == "E-mail addresses: 1 hashed, 1 row without one."


def test_numbers_of_fields_that_only_the_buyer_knows_are_marked() -> None:
    mapping = ColumnMapping(map={**FIELDS, "custom_data.margin:number": "M", "custom_data.code": "C"}, set=ALL)
    (event,), _, _ = events("Order,Date,Total,M,C\n1,2026-01-15T10:30:00Z,2,0.5,007\n", mapping)
    assert event["custom_data"]["margin"] == 0.5
    assert event["custom_data"]["code"] == "007"


@pytest.mark.parametrize("column", ["user_match.hashed_email", "user_match.hashed_phone"])
@pytest.mark.parametrize("value", ["ada@buyer.example", "+49 151 23456789", "0151-23456789"])
def test_what_is_not_hashed_is_not_sent(column: str, value: str) -> None:
    mapping = ColumnMapping(map={**FIELDS, column: "Who"}, set=ALL)
    found, ((line, field, message),), _ = events(f"Order,Date,Total,Who\n1,2026-01-15T10:30:00Z,2,{value}\n", mapping)
    assert (found, line, field) == ([], 2, column)
    assert "Add --hash" in message
    assert value not in message


@pytest.mark.parametrize("header", ["email", "Email", "E-Mail", "e-mail address"])
def test_a_column_that_is_called_so_is_hashed_without_naming_it(header: str) -> None:
    text = f"event_id,event_time,event_type,{header}\n1,2026-01-15T10:30:00Z,purchase,ada@buyer.example\n"
    (event,), _, _ = events(text, ColumnMapping(hash=parse_hash(["email"])))
    assert event["user_match"] == {"hashed_email": ADA}


@pytest.mark.parametrize(
    ("mapping", "told"),
    [
        (ColumnMapping(), "Say which column is event_id, event_type and event_time"),
        (ColumnMapping(map={"event_id": "Order"}, set={"event_type": "purchase"}), "--map event_time=COLUMN"),
        (ColumnMapping(map={"order_id": "Order"}), "Do you mean custom_data.order_id?"),
        (
            ColumnMapping(map={"event_id": "Nope"}, set={"event_time": "2026-01-15T10:30:00Z", **ALL}),
            "no column 'Nope'",
        ),
        (ColumnMapping(map=FIELDS, set=ALL, hash={"email": ""}), "Say which column --hash email is about"),
        (
            ColumnMapping(map=FIELDS, set={**ALL, "event_time": "yesterday"}),
            "--set: event_time is not written as ISO 8601",
        ),
        (ColumnMapping(map=FIELDS, set={**ALL, "custom_data.contents": "x"}), "an event has no such field"),
    ],
)
def test_a_mapping_that_does_not_fit_is_told(mapping: ColumnMapping, told: str) -> None:
    with pytest.raises(StartupError) as error:
        events("Order;Date;Total\n1;2;3\n", mapping)
    assert told in str(error.value)


def test_json_records_of_another_shape_are_mapped_too() -> None:
    records = [
        {"number": 1001, "placed": "2026-01-15T10:30:00Z", "customer": {"mail": "ada@buyer.example"}, "sum": 12.50},
        {"number": 1002, "placed": "2026-01-15T10:30:00Z", "customer": None, "sum": None},
        7,
    ]
    mapping = ColumnMapping(
        map={"event_id": "number", "event_time": "placed", "custom_data.value": "sum"},
        set=ALL,
        hash={"email": "customer.mail"},
    )
    found, failed, _ = events(json.dumps(records), mapping, "orders.json")
    assert [event["event_id"] for event in found] == ["1001", "1002"]
    assert found[0]["custom_data"] == {"currency": "EUR", "value": 12.5}
    assert found[0]["user_match"] == {"hashed_email": ADA}
    assert [message for _, _, message in failed] == ["The record is not a JSON object."]


def test_events_that_lack_a_field_get_it_from_set() -> None:
    event = {"event_id": "1", "event_time": "2026-01-15T10:30:00Z", "custom_data": {"value": 2.5, "plan": {"a": [1]}}}
    (found,), _, _ = events(json.dumps(event), ColumnMapping(set=ALL), "orders.ndjson")
    assert found == {
        **event,
        "event_type": "purchase",
        "custom_data": {"value": 2.5, "plan": {"a": [1]}, "currency": "EUR"},
    }


MAPPING = ColumnMapping(
    map={"event_id": 'Order "No."', "custom_data.value": "Größe\t\\"},
    set={"event_type": "purchase"},
    hash={"email": "E-Mail", "phone": ""},
    where={"Status": ["paid", "refunded"]},
    one_per="Order",
    timezone=BERLIN,
    time_format=["%d.%m.%Y %H:%M"],
    decimal=",",
    separator="\t",
    encoding="windows-1252",
)


@pytest.mark.parametrize("name", ["shop.toml", "shop.json", "shop"])
def test_a_mapping_can_be_kept(tmp_path: Path, name: str) -> None:
    save_mapping(MAPPING, tmp_path / name)
    assert load_mapping(tmp_path / name) == MAPPING


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("shop.toml", "map = {"),
        ("shop.toml", "[maps]\na = 1"),
        ("shop.json", "[1"),
        ("shop.json", '{"map": [1]}'),
        ("shop.yaml", "map: {}"),
        ("shop.toml", None),
    ],
)
def test_a_mapping_that_cannot_be_read_is_told(tmp_path: Path, name: str, text: str | None) -> None:
    if text:
        (tmp_path / name).write_text(text)
    with pytest.raises(StartupError, match="can't be read"):
        load_mapping(tmp_path / name)


def test_options_win_over_a_mapping() -> None:
    saved = ColumnMapping(map={"event_id": "A", "event_time": "B"}, set={"event_type": "lead"}, decimal=",")
    options = ColumnMapping(map={"event_type": "C"}, set={"event_time": "2026-01-15T10:30:00Z"}, timezone="UTC")
    assert merged([saved, options]) == ColumnMapping(
        map={"event_id": "A", "event_type": "C"},
        set={"event_time": "2026-01-15T10:30:00Z"},
        decimal=",",
        timezone="UTC",
    )


EXPORTS: dict[str, tuple[str, dict[str, Any], list[tuple[str, str, float, str]]]] = {
    "shopify": (
        "Name,Email,Financial Status,Paid at,Currency,Total,Created at,Lineitem quantity,Lineitem name,Phone\n"
        "#1001,ada@buyer.example,paid,,EUR,110.59,2025-10-07 09:50:20 +0200,3,Mask,'+4915123456789\n"
        "#1001,ada@buyer.example,,,,,2025-10-07 09:50:20 +0200,1,Cream,\n"
        "#1002,,voided,,EUR,20.00,2025-10-08 09:50:20 +0200,1,Cream,\n"
        "#1003,,refunded,,EUR,20.00,2025-10-09 09:50:20 +0200,1,Cream,\n",
        {},
        [("#1001", "2025-10-07T09:50:20+02:00", 110.59, "EUR"), ("#1003", "2025-10-09T09:50:20+02:00", 20.0, "EUR")],
    ),
    "woocommerce": (
        "order_id,order_number,order_date,status,order_total,order_currency,customer_email,billing_phone\n"
        "7,7,9/6/2016 6:29:00,completed,39.90,GBP,ada@buyer.example,+4915123456789\n"
        "8,8,2016-09-07 06:29:00,cancelled,39.90,GBP,,\n",
        {"timezone": "Europe/London"},
        [("7", "2016-09-06T06:29:00+01:00", 39.9, "GBP")],
    ),
    "magento": (
        '"ID","Purchase Point","Purchase Date","Bill-to Name","Grand Total (Purchased)","Status","Customer Email"\n'
        '"000000001","Main","Nov 25, 2026 15:41:24 PM","Ada","36.3900","complete","ada@buyer.example"\n'
        '"000000002","Main","Nov 25, 2026 03:41:24 PM","Ada","36.3900","Closed","ada@buyer.example"\n'
        '"000000003","Main","Nov 25, 2026 03:41:24 PM","Ada","36.3900","Canceled","ada@buyer.example"\n',
        {"timezone": BERLIN, "set": {"custom_data.currency": "EUR"}},
        [
            ("000000001", "2026-11-25T15:41:24+01:00", 36.39, "EUR"),
            ("000000002", "2026-11-25T15:41:24+01:00", 36.39, "EUR"),
        ],
    ),
    "stripe": (
        "id,Created date (UTC),Amount,Amount Refunded,Currency,Status,Customer Email\n"
        'ch_1,2026-07-01 09:12:33,"1,129.00",0.00,usd,Paid,ada@buyer.example\n'
        "ch_2,2026-07-01 09:12,10.00,0.00,usd,Failed,\n"
        "ch_3,2026-07-01 09:12,10.00,10.00,usd,Refunded,\n",
        {},
        [("ch_1", "2026-07-01T09:12:33Z", 1129.0, "USD"), ("ch_3", "2026-07-01T09:12:00Z", 10.0, "USD")],
    ),
}


@pytest.mark.parametrize("shop", sorted(PRESETS))
def test_the_export_of_a_shop_needs_no_mapping(shop: str) -> None:
    text, more, expected = EXPORTS[shop]
    columns = RecordFile(io.BytesIO(text.encode()), "orders.csv").columns or ()
    mapping = merged([PRESETS[shop].for_columns(columns), ColumnMapping(**more)])
    found, failed, told = events(text, mapping)
    assert failed == []
    assert [
        (each["event_id"], each["event_time"], each["custom_data"]["value"], each["custom_data"]["currency"])
        for each in found
    ] == expected
    assert found[0]["user_match"]["hashed_email"] == ADA
    assert found[0]["custom_data"]["order_id"] == found[0]["event_id"]
    assert any("skipped. Only these are events" in line for line in told)


def test_the_rows_of_an_order_are_one_event_with_what_its_first_row_says() -> None:
    mapping = ColumnMapping(map=FIELDS, set=ALL, one_per="Order")
    rows = [(1, 30), (1, 10), (1, 20), (2, 5), (3, 7), (3, 7), (1, 9)]
    text = "Order,Date,Total\n" + "".join(f"{order},2026-01-15T10:30:00Z,{total}\n" for order, total in rows)
    found, _, told = events(text, mapping)
    assert [(event["event_id"], event["custom_data"]["value"]) for event in found] == [
        ("1", 30),
        ("2", 5),
        ("3", 7),
        ("1", 9),
    ]
    assert told == ["3 rows were skipped: further rows of an order, for example its items."]


def summary(answers: Sequence[dict[str, Any]]) -> list[str]:
    tally = SendSummary(RejectsFile(None))
    for answer in answers:
        received = answer.pop("received")
        lines = [Line(number, number, b"{}") for number in range(1, received + 1)]
        failed = len(answer.get("partial_failures", []))
        counts = {"events_received": received, "events_processed": received - failed}
        tally.add(Batch(lines, {}), msgspec.convert(counts | answer, LogResponse))
    return list(tally.report())


DIFFER = (
    "of the known differ from what was stored first, which stays. A change needs an event_id of its own, or a refund."
)


def copies(**counts: Any) -> dict[str, Any]:
    return {"ext": {"postback": {"duplicates": counts, "match_quality": {}}}}


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        # a server that counts no copies, or says something else there
        ([{"received": 5}], ["5 events: 5 accepted, 0 failed."]),
        ([{"received": 5, "ext": {"postback": None}}], ["5 events: 5 accepted, 0 failed."]),
        ([{"received": 5, **copies(known="some")}], ["5 events: 5 accepted, 0 failed."]),
        (
            [{"received": 5, **copies(in_call=4, known=0, different=0, exact=True)}],
            ["5 events: 5 accepted, 0 failed.", "  1 new, 4 known: 0 stored before, 4 twice in one batch."],
        ),
        (
            [
                {"received": 10, **copies(in_call=1, known=2, different=2, exact=True)},
                {"received": 10, **copies(in_call=0, known=3, different=0, exact=True)},
            ],
            [
                "20 events: 20 accepted, 0 failed.",
                "  14 new, 6 known: 5 stored before, 1 twice in one batch.",
                f"  2 {DIFFER}",
            ],
        ),
        (
            [{"received": 10, **copies(in_call=0, known=3, different=1, exact=False)}],
            [
                "10 events: 10 accepted, 0 failed.",
                "  at most 7 new, at least 3 known: 3 stored before, 0 twice in one batch.",
                f"  at least 1 {DIFFER}",
            ],
        ),
        # a stored response counted the copies of its own time; by now all its events are known
        (
            [{"received": 10, "replayed": True, **copies(in_call=2, known=0, different=0, exact=True)}],
            [
                "10 events: 10 accepted, 0 failed.",
                "  0 new, 10 known: 8 stored before, 2 twice in one batch.",
                "1 of 1 batches were sent before. No event was logged twice.",
            ],
        ),
    ],
)
def test_the_summary_says_what_was_new_known_and_different(answers: list[dict[str, Any]], told: list[str]) -> None:
    assert summary(answers) == told


def test_rejected_records_are_noted_and_never_quoted(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv.rejected.ndjson"
    path.write_text("of an earlier run")
    with RejectsFile(path) as rejects:
        assert not path.exists()
        tally = SendSummary(rejects)
        tally.fail(1, 2, Rejection("INVALID_REQUEST", "A sentence.", "event_id"))
        failure = {"index": 1, "reason": "X", "message": "Another.", "field": "events[1].user_match.click_id"}
        lines = [Line(number, number - 1, b"{}") for number in (4, 9)]
        answer = {"events_received": 2, "events_processed": 1, "partial_failures": [failure]}
        tally.add(Batch(lines, {}), msgspec.convert(answer, LogResponse))
    assert list(rejects.report()) == [f"All that failed, by line and reason: {path}"]
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"row": 1, "line": 2, "field": "event_id", "reason": "INVALID_REQUEST", "message": "A sentence."},
        {"row": 8, "line": 9, "field": "user_match.click_id", "reason": "X", "message": "Another."},
    ]


def test_a_place_that_cannot_be_written_stops_only_those_who_named_it(tmp_path: Path) -> None:
    path = tmp_path / "no such folder" / "rejected.ndjson"
    with RejectsFile(path, chosen=False) as rejects:
        rejects.add(1, 2, "", "INVALID_REQUEST", "A sentence.")
        rejects.add(2, 3, "", "INVALID_REQUEST", "A sentence.")
    assert list(rejects.report()) == [
        f"{path} can't be written: No such file or directory. Name another file with --rejects."
    ]
    with RejectsFile(path) as rejects, pytest.raises(StartupError, match="can't be written"):
        rejects.add(1, 2, "", "INVALID_REQUEST", "A sentence.")
