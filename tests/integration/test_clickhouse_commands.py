"""An operator's commands work on events that are on a ClickHouse server, while Postback is stopped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.clickhouse_server import ClickHouseServer

if TYPE_CHECKING:
    from tests.conftest import Server, StartServer


def test_the_commands_work_on_a_clickhouse_server(
    start_own_server: StartServer, clickhouse: ClickHouseServer, tmp_path: Path
) -> None:
    url = clickhouse.new_database()
    server = start_own_server(events=url)
    server.stop()
    file = tmp_path / "log.csv"
    rows = [f"e{number},impression,2026-11-0{1 + number % 9}T10:00:00Z,mb,p" for number in range(50)]
    file.write_text("\n".join(["exposure_id,kind,occurred_at,media_buy_id,package_id", *rows]) + "\n")

    assert "50 of 50 exposures are stored" in run(server, url, "exposures", "import", str(file))
    assert "already imported" in run(server, url, "exposures", "import", str(file))
    assert clickhouse.execute("SELECT count() FROM exposure FINAL", url.rpartition("/")[2]) == "50\n"
    assert "0 exposure_ids stand for several" in run(server, url, "exposures", "reused")
    assert "0 of the 0 events" in run(server, url, "attribute")
    assert "0 of 0 packages" in run(server, url, "attribute", "--compare")
    assert "0 of the 0 events" in run(server, url, "attribute", "--rebuild")
    refused = run(server, url, "backup", str(tmp_path / "backups"))
    assert "copies embedded event stores only" in refused
    assert "The secret is replaced" in run(server, url, "secret", "rotate", "--yes")


def run(server: Server, url: str, *arguments: str) -> str:
    """Everything that a command prints."""
    command = [sys.executable, "-m", "postback", *arguments, "--data", str(server.data)]
    done = subprocess.run(command, env=os.environ | {"POSTBACK_EVENTS": url}, capture_output=True, text=True)
    return done.stdout + done.stderr
