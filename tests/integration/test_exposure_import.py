"""A seller imports a log: in any of the formats, killed or not, every row once."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from tests.conftest import Server, StartServer
from tests.engine import select_from
from tests.faults.kills import inserting, kill_during
from tests.integration.orders import buy, package

ROWS = 2_000


def table(rows: int) -> pa.Table:
    """A log as some ad server writes it."""
    return pa.table(
        {
            "imp": [f"imp-{n}" for n in range(rows)],
            "kind": ["click" if n % 9 == 0 else "impression" for n in range(rows)],
            "at": [f"2026-10-{1 + n % 30:02}T10:00:00Z" for n in range(rows)],
            "media_buy_id": ["mb"] * rows,
            "package_id": [f"p{n % 3}" for n in range(rows)],
            "email": [sha256(f"customer {n % 500}".encode()).hexdigest() if n % 7 else None for n in range(rows)],
            "price": ["0.0035" if n % 2 else "0.1" for n in range(rows)],
        }
    )


def command(folder: Path, file: Path, *options: str) -> list[str]:
    mapped = ("exposure_id=imp", "occurred_at=at", "user_match.hashed_email=email", "cost=price")
    maps = [word for pair in mapped for word in ("--map", pair)]
    run = [sys.executable, "-m", "postback", "exposures", "import", str(file), "--data", str(folder)]
    return [*run, *maps, "--set", "currency=USD", *options]


def run(folder: Path, file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(folder, file, *options), capture_output=True, text=True)


def stored(folder: Path) -> list[tuple[Any, ...]]:
    columns = "exposure_id, kind, occurred_at, package_id, match_keys, cost, currency"
    return select_from(folder, f"SELECT {columns} FROM exposure FINAL ORDER BY exposure_id")


def importing(folder: Path, file: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command(folder, file), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def rows_imported(folder: Path) -> int:
    """Rows that the only import has dealt with, as it noted."""
    return sum(json.loads(file.read_bytes())["rows"] for file in folder.glob("imports/*.json"))


@pytest.fixture(scope="module")
def made(start_server: StartServer) -> Server:
    """A server that has made its data folder, and is stopped."""
    server = start_server()
    server.stop()
    return server


@pytest.fixture
def stopped(made: Server, tmp_path: Path) -> Server:
    """The same, with a copy of that folder."""
    return replace(made, data=shutil.copytree(made.data, tmp_path / "data", symlinks=True))


def test_a_log_is_the_same_in_every_format(stopped: Server, tmp_path: Path) -> None:
    log = table(ROWS)
    pa_csv.write_csv(log, tmp_path / "log.csv")
    pq.write_table(log, tmp_path / "log.parquet")
    with gzip.open(tmp_path / "log.ndjson.gz", "wt") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in log.to_pylist())

    found = []
    for name in ("log.csv", "log.parquet", "log.ndjson.gz"):
        done = run(stopped.data, tmp_path / name)
        assert done.stdout.startswith("2,000 of 2,000 exposures are stored.\nMISSING_USER_MATCH: 286 of them.\n"), done
        found.append(stored(stopped.data))

    assert len(found[0]) == ROWS
    assert found[0] == found[1] == found[2]


def test_ids_that_stand_for_several_exposures_are_listed(stopped: Server, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    pa_csv.write_csv(table(20), log)
    assert run(stopped.data, log).returncode == 0
    listing = [sys.executable, "-m", "postback", "exposures", "reused", "--data", str(stopped.data)]
    assert subprocess.run(listing, capture_output=True, text=True).returncode == 0
    reused = tmp_path / "reused.csv"
    others = table(3).set_column(4, "package_id", pa.array(["p9"] * 3))
    pa_csv.write_csv(others, reused)
    assert run(stopped.data, reused).returncode == 0

    listed = subprocess.run(listing, capture_output=True, text=True)

    assert listed.returncode == 1, listed.stderr
    assert "3 exposure_ids" in listed.stderr
    assert (
        listed.stdout.splitlines()[1]
        == "default imp-1: counts as impression of mb p1; also sent as impression of mb p9"
    )


def test_rejected_rows_are_noted_by_number_and_never_quoted(stopped: Server, tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    file.write_text(
        "imp,kind,at,media_buy_id,package_id,email,price\n"
        "i1,click,2026-10-01T10:00:00Z,mb,p,,1\n"
        "i2,click,noon,mb,p,,1\n"
        "i3,click,2026-10-01T10:00:00Z,mb,p,ada@buyer.example,1\n"
    )

    done = run(stopped.data, file)

    assert "1 of 3 exposures are stored." in done.stdout
    rejects = (tmp_path / "log.csv.rejected.ndjson").read_text()
    noted = [json.loads(line) for line in rejects.splitlines()]
    assert [(line["row"], line["field"]) for line in noted] == [(2, "occurred_at"), (3, "user_match.hashed_email")]
    assert "ada@" not in rejects + done.stdout + done.stderr


def test_a_killed_import_goes_on_and_counts_every_row_once(stopped: Server, tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    rows = 600_000
    pa_csv.write_csv(table(rows), file)
    with importing(stopped.data, file) as process:
        kill_during(process, inserting(stopped.data, "exposure"), "an insert")
    inserts = inserting(stopped.data, "exposure")
    with importing(stopped.data, file) as process:
        kill_during(process, lambda: rows_imported(stopped.data) and inserts(), "an insert after the first")
    assert 0 < rows_imported(stopped.data) < rows

    done = run(stopped.data, file)
    assert "Resuming after row" in done.stderr
    again = run(stopped.data, file)

    assert f"{rows:,} of {rows:,} exposures are stored." in done.stdout
    assert "already imported" in again.stderr
    assert select_from(stopped.data, "SELECT count() FROM exposure FINAL") == [(rows,)]


def test_a_running_server_keeps_its_folder(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    pa_csv.write_csv(table(3), file)
    refused = run(server.data, file)
    assert (refused.returncode, "is in use by another server" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--map", "imp=exposure_id"), "'imp' is not a field of an exposure"),
        (("--map", "creative_id=nope"), "it has no column 'nope'"),
        (("--set", "kind"), "--set needs FIELD=VALUE"),
        (("--account", "nobody"), "There is no account 'nobody'"),
    ],
)
def test_a_wrong_option_is_told_in_a_sentence(
    stopped: Server, tmp_path: Path, options: tuple[str, ...], told: str
) -> None:
    file = tmp_path / "log.csv"
    pa_csv.write_csv(table(3), file)
    refused = run(stopped.data, file, *options)
    assert refused.returncode == 2
    assert told in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_folder_that_no_server_made_is_told_and_not_made(tmp_path: Path) -> None:
    pa_csv.write_csv(table(3), tmp_path / "log.csv")
    refused = run(tmp_path / "typo", tmp_path / "log.csv")

    assert (refused.returncode, "is not a data folder" in refused.stderr) == (2, True)
    assert not (tmp_path / "typo").exists()


def test_a_decimal_comma_is_explained_in_the_words_of_a_table(stopped: Server, tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    head = "imp;kind;at;media_buy_id;package_id;email;price"
    file.write_text(f"{head}\ni1;click;2026-10-01T10:00:00Z;mb;p;;1,50\n")

    assert run(stopped.data, file).returncode == 1
    assert "add --decimal ,." in file.with_name("log.csv.rejected.ndjson").read_text()
    assert run(stopped.data, file, "--decimal", ",").returncode == 0


def test_odd_rows_are_noted_and_the_others_imported(stopped: Server, tmp_path: Path) -> None:
    """A log of some other system, in its own separator and encoding, whose rows are not all whole."""
    file = tmp_path / "log.txt"
    head = "imp;kind;at;media_buy_id;package_id;email;price;note\r\n"
    file.write_bytes(
        (
            f"{head}i1;click;2026-10-01T10:00:00Z;mb;p;;1,50;caf\u00e9\r\n"
            "i2;click;2026-10-01T10:00:00Z;mb;ada@buyer.example\r\n"
            'i3;click;2026-10-01T10:00:00Z;mb;p;;1.000,25;"two\r\nlines; here"\r\n'
            "i4;click;2026-13-01T10:00:00Z;mb;p;;1,00;\r\n"
        ).encode("windows-1252")
    )

    done = run(stopped.data, file, "--decimal", ",")

    assert done.returncode == 1
    assert "2 of 4 exposures are stored." in done.stdout
    assert "Rejected: 2 INVALID_REQUEST; see " in done.stdout
    rejects = (tmp_path / "log.txt.rejected.ndjson").read_text()
    noted = [json.loads(line) for line in rejects.splitlines()]
    assert [(line["row"], line["line"], line["field"]) for line in noted] == [(2, 3, ""), (4, 6, "occurred_at")]
    assert "The row has 5 columns, and the header has 8" in noted[0]["message"]
    assert "ada@" not in rejects + done.stdout + done.stderr
    assert [(row[0], str(row[5])) for row in stored(stopped.data)] == [("i1", "1.500000000"), ("i3", "1000.250000000")]


def test_a_corrected_file_of_the_same_size_is_imported(stopped: Server, tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    text = "imp,kind,at,media_buy_id,package_id,email,price\n" + "".join(
        f"i{n},click,2026-{'13' if n == 5_000 else '10'}-25T10:00:00Z,mb,p,,1\n" for n in range(60_000)
    )
    file.write_text(text)
    assert "59,999 of 60,000 exposures are stored." in run(stopped.data, file).stdout
    file.write_text(text.replace("2026-13", "2026-11"))

    corrected = run(stopped.data, file)
    again = run(stopped.data, file)

    assert "60,000 of 60,000 exposures are stored." in corrected.stdout
    assert not (tmp_path / "log.csv.rejected.ndjson").exists()
    assert (again.returncode, "already imported" in again.stderr) == (0, True)
    assert select_from(stopped.data, "SELECT count() FROM exposure FINAL") == [(60_000,)]


def test_json_of_any_kind_is_judged_as_the_call_judges_it(stopped: Server, tmp_path: Path) -> None:
    exposure = {"kind": "click", "occurred_at": "2026-10-01T10:00:00Z", "media_buy_id": "mb", "package_id": "p"}
    two_ids = {"uids": [{"type": "rampid", "value": f"XY1000bbtZ{n}ABCDEF012345"} for n in "AB"]}
    good = [{"exposure_id": f"i{n}", **exposure, "user_match": two_ids} for n in range(3)]
    lines = [json.dumps(good[0]), '{"exposure_id": "cut', "", json.dumps(good[1]), "[1]", json.dumps(good[2])]
    (tmp_path / "log.ndjson").write_text("\n".join(lines))
    (tmp_path / "log.json").write_text(json.dumps([{**each, "exposure_id": f"a{n}"} for n, each in enumerate(good)]))
    plain = [sys.executable, "-m", "postback", "exposures", "import", "--data", str(stopped.data)]

    broken = subprocess.run([*plain, str(tmp_path / "log.ndjson")], capture_output=True, text=True)
    array = subprocess.run(
        [*plain, str(tmp_path / "log.json"), "--map", "user_match.uid.rampid=user_match.uid.rampid"],
        capture_output=True,
        text=True,
    )

    assert "3 of 5 exposures are stored." in broken.stdout
    noted = [json.loads(line) for line in (tmp_path / "log.ndjson.rejected.ndjson").read_text().splitlines()]
    assert [(line["row"], line["line"]) for line in noted] == [(2, 2), (4, 5)]
    assert "3 of 3 exposures are stored." in array.stdout
    assert {len(row[4]) for row in stored(stopped.data)} == {2}, "both universal IDs match"


def test_a_heading_that_is_there_twice_is_told_in_a_sentence(stopped: Server, tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    file.write_text("imp,kind,at,media_buy_id,package_id,kind,email,price\ni1,click,2026-10-01T10:00:00Z,mb,p,x,,\n")

    refused = run(stopped.data, file)

    assert refused.returncode == 2
    assert "has the column 'kind' more than once: columns 2 and 6" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_what_can_be_read_of_a_cut_file_is_imported(stopped: Server, tmp_path: Path) -> None:
    file = tmp_path / "log.csv.gz"
    pa_csv.write_csv(table(ROWS), tmp_path / "log.csv")
    whole = gzip.compress((tmp_path / "log.csv").read_bytes())
    file.write_bytes(whole[: len(whole) // 2])

    cut = run(stopped.data, file)

    assert cut.returncode == 2
    assert "cut off before the end of its compressed data" in cut.stderr
    assert 0 < len(stored(stopped.data)) < ROWS


def test_a_file_that_is_no_such_file_is_told_in_a_sentence(stopped: Server, tmp_path: Path) -> None:
    file = tmp_path / "log.parquet"
    file.write_bytes(os.urandom(100))
    refused = run(stopped.data, file)
    assert (refused.returncode, "can't be read as parquet" in refused.stderr) == (2, True)


@pytest.mark.parametrize("format_", ["csv", "ndjson"])
def test_what_counts_nothing_is_said_as_of_a_call(start_own_server: StartServer, tmp_path: Path, format_: str) -> None:
    seller = start_own_server(sandbox="true")
    made = buy(seller, package(pricing_option_id="auction_cpm_eur"))
    seller.stop()
    log = table(ROWS).to_pylist()
    for place, row in enumerate(log):
        row["media_buy_id"] = made["media_buy_id"] if place < 10 else "mb_elsewhere"
        row["package_id"] = made["packages"][0]["package_id"]
    if format_ == "csv":
        pa_csv.write_csv(pa.Table.from_pylist(log), tmp_path / "log.csv")
    else:
        (tmp_path / "log.ndjson").write_text("".join(json.dumps(row) + "\n" for row in log))

    done = run(seller.data, tmp_path / f"log.{format_}", "--account", "default")

    assert done.returncode == 0, done
    assert "OTHER_CURRENCY: 10 of them." in done.stdout
    assert "UNKNOWN_PACKAGE: 1,990 of them." in done.stdout
