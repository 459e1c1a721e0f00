"""A table that `postback send` logs comes to what a developer would have sent to log_event for the same rows."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import Server, StartServer, examples
from tests.engine import select_from

from postback.cli import main

INDIA = timezone(timedelta(hours=5, minutes=30))
HEADER = ["Order", "Kind", "Date", "Total", "Mail", "Phone", "Title", "Click"]
OPTIONS = (
    *("--map", "event_id=Order", "--map", "event_type=Kind", "--map", "event_time=Date"),
    *(
        "--map",
        "custom_data.value=Total",
        "--set",
        "custom_data.currency=INR",
        "--map",
        "custom_data.content_name=Title",
    ),
    *("--map", "user_match.click_id=Click", "--hash", "email=Mail", "--hash", "phone=Phone", "--country", "IN"),
    *("--timezone", "Asia/Kolkata", "--time-format", "%d/%m/%Y %H:%M:%S"),
)
_TEXT = st.text(st.sampled_from("aZ09 ;,|\t\"'\n.éü€#_-"), min_size=1, max_size=12).map(str.strip).filter(bool)
_ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.text(st.sampled_from("aZ09;,|\"'.éü€#_-"), min_size=1, max_size=12),
            "kind": st.sampled_from(["purchase", "purchase", "lead", "refund", "bought"]),
            "seconds": st.integers(60, 20 * 86_400),
            "cents": st.none() | st.integers(0, 10**9),
            "mail": st.none() | st.sampled_from(["ada", "grace", "Alan.Turing"]),
            "phone": st.none() | st.integers(98_000_00000, 98_999_99999),
            "title": st.none() | _TEXT,
            "click": st.none() | st.sampled_from(["gclid-0123456789abcdef", "{{gclid}}"]),
        }
    ),
    min_size=1,
    max_size=8,
)


def cell_of(amount: int | None, decimal: str) -> str:
    if amount is None:
        return ""
    text = f"{amount // 100:,}.{amount % 100:02}"
    return text if decimal == "." else text.translate(str.maketrans(",.", ".,"))


def row_of(row: dict[str, Any], event_id: str, time: datetime, decimal: str) -> list[str]:
    return [
        event_id,
        row["kind"],
        time.astimezone(INDIA).strftime("%d/%m/%Y %H:%M:%S"),
        cell_of(row["cents"], decimal),
        f" {row['mail']}@Buyer.example " if row["mail"] else "",
        f"0{row['phone']}" if row["phone"] else "",
        row["title"] or "",
        row["click"] or "",
    ]


def event_of(row: dict[str, Any], event_id: str, time: datetime) -> dict[str, Any]:
    """The row as a developer sends it."""
    user_match: dict[str, str] = {"click_id": row["click"]} if row["click"] else {}
    if row["mail"]:
        user_match["hashed_email"] = sha256(f"{row['mail']}@buyer.example".lower().encode()).hexdigest()
    if row["phone"]:
        user_match["hashed_phone"] = sha256(f"+91{row['phone']}".encode()).hexdigest()
    custom_data = {"currency": "INR"}
    custom_data |= {"value": row["cents"] / 100} if row["cents"] is not None else {}
    custom_data |= {"content_name": row["title"]} if row["title"] else {}
    return {
        "event_id": event_id,
        "event_type": row["kind"],
        "event_time": time.isoformat(),
        "custom_data": custom_data,
        **({"user_match": user_match} if user_match else {}),
    }


def send(server: Server, file: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["send", str(file), "--url", server.url, "--key", server.key, *options])


def stored(data: Path, source: str) -> list[tuple[Any, ...]]:
    columns = "event_type, event_id, event_time, custom_data, match_keys, warnings, extra"
    return select_from(data, f"SELECT {columns} FROM event FINAL WHERE event_source_id = '{source}' ORDER BY 1, 2")


def test_a_table_comes_to_the_same_as_its_rows_through_log_event(start_own_server: StartServer, tmp_path: Path) -> None:
    server = start_own_server()
    sources = [{"event_source_id": name} for name in ("table", "call")]
    server.call("sync_event_sources", event_sources=sources).raise_for_status()
    numbers = count()

    @settings(examples(12), suppress_health_check=list(HealthCheck))
    @given(
        rows=_ROWS,
        separator=st.sampled_from(",;\t|"),
        decimal=st.sampled_from(".,"),
        encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "windows-1252"]),
        quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    )
    def check(rows: list[dict[str, Any]], separator: str, decimal: str, encoding: str, quoting: Any) -> None:
        example, now = next(numbers), datetime.now(UTC).replace(microsecond=0)
        ids = [f"{example}-{row['id']}" for row in rows]
        times = [now - timedelta(seconds=row["seconds"]) for row in rows]
        text = io.StringIO()
        table = csv.writer(text, delimiter=separator, lineterminator="\r\n", quoting=quoting)
        table.writerows([HEADER, *(row_of(*each, decimal) for each in zip(rows, ids, times, strict=True))])
        file = tmp_path / "orders.csv"
        file.write_bytes(text.getvalue().encode(encoding))

        result = send(server, file, "--source", "table", *OPTIONS, "--decimal", decimal, "--separator", separator)
        events = [event_of(*each) for each in zip(rows, ids, times, strict=True)]
        answer = server.call("log_event", event_source_id="call", events=events).json()

        failures = answer.get("partial_failures", [])
        assert result.exit_code == bool(failures), result.output
        assert f"{len(rows)} events: {answer['events_processed']} accepted, {len(failures)} failed." in result.output
        rejected = tmp_path / "orders.csv.rejected.ndjson"
        noted = [json.loads(line) for line in rejected.read_text().splitlines()] if failures else []
        assert [(line["row"] - 1, line["reason"], line["message"]) for line in noted] == [
            (failure["index"], failure["reason"], failure["message"]) for failure in failures
        ]

    check()
    server.stop()
    by_table, by_call = stored(server.data, "table"), stored(server.data, "call")
    assert len(by_call) > 20
    assert by_table == by_call


def test_the_summary_says_what_the_server_knew_already(server: Server, tmp_path: Path) -> None:
    now = datetime.now(UTC).isoformat()
    rows = [f"{order},{now},{total}" for order, total in [("s1", 10), ("s1", 10), ("s2", 20), ("s3", 30)]]
    (tmp_path / "orders.csv").write_text("event_id,event_time,custom_data.value\n" + "\n".join(rows))
    options = ("--source", "website", "--set", "event_type=purchase", "--set", "custom_data.currency=EUR")

    first = send(server, tmp_path / "orders.csv", *options)
    (tmp_path / "orders.csv").write_text(
        "event_id,event_time,custom_data.value\n" + "\n".join([*rows[:3], f"s3,{now},31", f"s4,{now},40"])
    )
    second = send(server, tmp_path / "orders.csv", *options)

    assert "3 new, 1 known: 0 stored before, 1 twice in one batch." in first.output
    assert "1 new, 4 known: 3 stored before, 1 twice in one batch." in second.output
    assert "1 of the known differ from what was stored first" in second.output
