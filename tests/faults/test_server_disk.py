"""A disk that takes no more: calls are refused with a clear answer, and taken again as soon as there is room."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from itertools import count
from pathlib import Path

import httpx2
import pytest
from tests.conftest import HTTP, Server, StartServer, eventually, free_port
from tests.faults.buyers import Buyers, call, sent_events, stored_events, stored_rejections
from tests.faults.kills import waiting_in_log

from postback.transports.shared_answer import SHARED_SECONDS

_NAMESPACE = ("unshare", "--mount", "--map-root-user", "sh", "-c")
_MOUNT = "mount -t tmpfs -o size=48m tmpfs {}"
_LOW = 0.02
"""Share of the disk below which events are refused, a little less than it is."""

_BOUND_BY_MODES = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
"""Root writes whatever a file's mode says, unless this capability is gone."""


def can(*command: str) -> bool:
    return bool(shutil.which(command[0])) and not subprocess.run(command, capture_output=True, check=False).returncode


def readiness(server: Server) -> httpx2.Response:
    """What the server says of itself now, and not what it said a moment ago."""
    time.sleep(SHARED_SECONDS)
    return HTTP.get(f"{server.url}/readyz")


def refuses_until(server: Server, repair: Callable[[], object]) -> None:
    """Check that a server that can't write says so and takes nothing, and takes the same calls after the repair."""
    calls = [call(number) for number in range(1_000, 1_003)]
    for body in calls:
        refused = server.call("log_event", **body)
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) >= 1
        assert refused.json()["adcp_error"]["recovery"] == "transient"
    unready = readiness(server)
    assert unready.status_code == 503
    assert int(unready.headers["Retry-After"]) >= 1
    assert HTTP.get(f"{server.url}/healthz").status_code == 200

    repair()
    assert readiness(server).status_code == 200
    for body in calls:
        taken = server.call("log_event", **body).raise_for_status().json()
        assert "replayed" not in taken, "a call that was refused was remembered as answered"


def check_stored(server: Server, buyers: Buyers) -> None:
    """Check that what was sent before, during and after the trouble is there, once."""
    server.stop()
    sent = [body for body, _ in buyers.acknowledged.values()] + [call(number) for number in range(1_000, 1_003)]
    stored = stored_events(server)
    assert stored.keys() == sent_events(sent).keys()
    assert stored_rejections(server) == {f"{body['idempotency_key']}-broken" for body in sent}


def disk_size(root: Path) -> int:
    return shutil.disk_usage(root).total


def check_low_disk(server: Server, filler: Path, left: int) -> None:
    """Check that events are refused while there is room for them yet, and that all else goes on."""
    numbers = count(2_000)  # a call that was accepted would only be replayed

    def says_so(response: httpx2.Response) -> bool:
        return response.status_code == 503 and "MB left" in response.json()["message"]

    def refused() -> bool:
        with filler.open("ab") as file:  # the engine gives space back now and then
            file.write(bytes(max(0, shutil.disk_usage(filler.parent).free - left)))
        return says_so(server.call("log_event", **call(next(numbers)))) and says_so(readiness(server))

    eventually(refused, "a refusal")
    assert server.call("list_accounts").status_code == 200
    filler.unlink()
    server.call("log_event", **call(next(numbers))).raise_for_status()


def test_a_full_disk(start_server: StartServer, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = _MOUNT.format(disk)
    if not can(*_NAMESPACE, mount):
        pytest.skip("this system lets no test mount a disk of its own")
    server = start_server(*_NAMESPACE, f'{mount} && exec "$0" "$@"', data=disk / "data")
    server.call("sync_event_sources", event_sources=[{"event_source_id": "website"}]).raise_for_status()
    buyers = Buyers(server)
    buyers.send_one()
    root = Path(f"/proc/{server.process.pid}/root{disk}")
    eventually(lambda: not waiting_in_log(root / "data"), "an empty log")
    filler = root / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))

    refuses_until(server, filler.unlink)
    buyers.send_one()
    check_low_disk(server, filler, int(disk_size(root) * _LOW))
    # The disk goes with the server, so it is asked while it runs.
    with server.client() as client:
        for event_id in sent_events([call(1_000), *(body for body, _ in buyers.acknowledged.values())]):
            found = client.get(f"/v1/events/website/purchase/{event_id}").raise_for_status().json()
            assert [verdict["status"] for verdict in found["statuses"]] == ["accepted"]


def test_a_folder_that_becomes_read_only(start_server: StartServer) -> None:
    server = start_server(*(_BOUND_BY_MODES if can(*_BOUND_BY_MODES, "true") else ()))
    server.call("sync_event_sources", event_sources=[{"event_source_id": "website"}]).raise_for_status()
    buyers = Buyers(server)
    buyers.send_one()
    eventually(lambda: not waiting_in_log(server.data), "an empty log")
    subprocess.run(["chmod", "-R", "a-w", server.data], check=True)

    refuses_until(server, lambda: subprocess.run(["chmod", "-R", "u+w", server.data], check=True))
    buyers.send_one()
    check_stored(server, buyers)


def test_a_control_store_that_is_locked_holds_no_call_up(start_server: StartServer) -> None:
    """Somebody's backup locks it: the log has the response, and a retry gets it from there."""
    server = start_server()
    server.call("sync_event_sources", event_sources=[{"event_source_id": "website"}]).raise_for_status()
    buyers = Buyers(server)
    buyers.send_one()
    body = call(1_000)
    with closing(sqlite3.connect(server.data / "control.db", isolation_level=None)) as backup:
        backup.execute("BEGIN IMMEDIATE")
        assert "replayed" not in server.call("log_event", **body).raise_for_status().json()
        assert server.call("log_event", **body).raise_for_status().json()["replayed"]
        backup.execute("ROLLBACK")
    eventually(lambda: not waiting_in_log(server.data), "an empty log")
    assert server.call("log_event", **body).raise_for_status().json()["replayed"]
    server.stop()
    assert stored_events(server).keys() == sent_events([body, *(b for b, _ in buyers.acknowledged.values())]).keys()


def test_a_server_does_not_start_on_a_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    prefix = _BOUND_BY_MODES if can(*_BOUND_BY_MODES, "true") else ()
    command = [*prefix, sys.executable, "-m", "postback", "serve", "--data", tmp_path, "--port", str(free_port())]
    run = subprocess.run(command, capture_output=True, text=True, check=False)

    assert run.returncode == 2
    assert run.stderr.startswith(f"Error: The data folder {tmp_path} can't be used (Permission denied).")
    assert run.stderr.count("\n") == 1
