"""A seller imports a log: in any of the formats, killed or not, every row once."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from tests.conftest import Server, StartServer

from postback.store.datadir import DataDir
from postback.store.events import EventStore

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
    data = DataDir.open(folder)
    store = EventStore.open(data.events_dsn, data.scratch)
    with store._reader() as client:
        columns = "exposure_id, kind, occurred_at, package_id, match_keys, cost, currency"
        found = client.query(f"SELECT {columns} FROM exposure FINAL ORDER BY exposure_id")
        rows = [tuple(row) for row in found.result_rows]
    store.close()
    data.close()
    return rows


@pytest.fixture
def stopped(start_server: StartServer) -> Server:
    """A server that has made its data folder, and is stopped."""
    server = start_server()
    server.stop()
    return server


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
    for seconds in (1.6, 2.2):
        importing = subprocess.Popen(command(stopped.data, file), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        importing.send_signal(signal.SIGKILL)
        importing.wait()

    done = run(stopped.data, file)
    again = run(stopped.data, file)

    assert f"{rows:,} of {rows:,} exposures are stored." in done.stdout
    assert "nothing is left to do" in again.stderr
    data = DataDir.open(stopped.data)
    store = EventStore.open(data.events_dsn, data.scratch)
    assert store.count("exposure") == rows
    store.close()
    data.close()


def test_a_running_server_keeps_its_folder(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    pa_csv.write_csv(table(3), file)
    refused = run(server.data, file)
    assert (refused.returncode, "is in use by another server" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--map", "imp=exposure_id"), "'imp' is no field of an exposure"),
        (("--map", "creative_id=nope"), "it has no column 'nope'"),
        (("--set", "kind"), "--set takes FIELD=VALUE"),
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


def test_a_file_that_is_no_such_file_is_told_in_a_sentence(stopped: Server, tmp_path: Path) -> None:
    file = tmp_path / "log.parquet"
    file.write_bytes(os.urandom(100))
    refused = run(stopped.data, file)
    assert (refused.returncode, "can't be read as parquet" in refused.stderr) == (2, True)
