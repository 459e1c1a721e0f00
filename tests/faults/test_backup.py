"""A running server is backed up while buyers send, while attribution works, and while things go wrong."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.acceptance.conversions import shop_orders
from tests.acceptance.official import unique_key
from tests.conftest import Server, StartServer, eventually
from tests.faults.buyers import EVENTS, Body, Buyers, call, sent_events, stored_events, stored_rejections
from tests.faults.test_server_disk import can
from tests.integration.orders import buy, goal, package

from postback.backups.creating import CreatedBackup, create_backup
from postback.backups.manifest import read_manifest
from postback.backups.restoring import restore_backup
from postback.backups.sources import Source, open_source
from postback.config import Settings, load_settings
from postback.errors import StartupError

_NAMESPACE = ("unshare", "--mount", "--map-root-user", "sh", "-c")

_EXPOSED = 2_000
"""So many of the buyers' events, the first, have an exposure."""


def postback(*words: object) -> str:
    """What a command prints."""
    command = [sys.executable, "-m", "postback", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def backups_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*Z*"))


def expose_buyers(server: Server) -> str:
    """Buy a package that counts purchases, and report an exposure for the buyers' first events; returns its id."""
    sources = [{"event_source_id": "website", "event_type": "purchase", "value_field": "value"}]
    bought = buy(server, package(goal(*sources), bid_price=4))
    media_buy_id, package_id = bought["media_buy_id"], bought["packages"][0]["package_id"]
    exposures = [
        {
            "exposure_id": f"{media_buy_id}-{number}",
            "kind": "click",
            "occurred_at": (datetime.now(UTC) - timedelta(hours=1)).isoformat(),
            "media_buy_id": media_buy_id,
            "package_id": package_id,
            "user_match": {"hashed_email": f"{number:032x}"[::-1] * 2},
        }
        for number in range(_EXPOSED)
    ]
    server.call("exposures", idempotency_key=unique_key(), exposures=exposures).raise_for_status()
    return str(media_buy_id)


def counted(server: Server, media_buy_id: str) -> int:
    """The conversions of a media buy, as the server reports them."""
    answer = server.call("get_media_buy_delivery", media_buy_ids=[media_buy_id], start_date="2020-01-01")
    [found] = answer.raise_for_status().json()["media_buy_deliveries"]
    [part] = found["by_package"]
    return int(part["conversions"])


def exposed_events(bodies: Iterable[Body]) -> int:
    """How many of these calls' events have an exposure."""
    return sum(int(body["idempotency_key"].rpartition("-")[2]) * EVENTS < _EXPOSED for body in bodies) * EVENTS


def paced(number: int) -> Body:
    """The arguments of a call, after a while, for all that is sent is compared."""
    time.sleep(0.2)
    return call(number)


def write_backup(folder: Path, source: Source) -> CreatedBackup:
    """A backup of what a source has."""
    folder.mkdir(exist_ok=True)
    return create_backup(folder, source, datetime.now(UTC))


def settings_of(server: Server) -> Settings:
    return load_settings({}, data=server.data)


def test_what_was_acknowledged_before_a_backup_under_load_is_restored(
    start_own_server: StartServer, tmp_path: Path
) -> None:
    server = start_own_server(sandbox="true")
    server.call("sync_event_sources", event_sources=[{"event_source_id": "website"}]).raise_for_status()
    media_buy_id = expose_buyers(server)
    buyers = Buyers(server, arguments=paced)
    with buyers.sending(persistently=False):
        buyers.wait_for_answers(20)
        before = dict(buyers.acknowledged)
        with open_source(settings_of(server)) as source:
            backup = write_backup(tmp_path / "backups", source).path
            buyers.wait_for_answers(1)  # buyers send meanwhile
        server.process.kill()
        server.process.wait()
    restore_backup(backup, read_manifest(backup), tmp_path / "restored")

    again = start_own_server(sandbox="true", data=tmp_path / "restored")
    for body, answer in before.values():
        replay = again.call("log_event", **body).raise_for_status().json()
        assert replay.get("replayed"), "a call that was acknowledged before is new"
        assert replay["events_processed"] == answer["events_processed"]
    for key, (body, _) in buyers.acknowledged.items():
        if key not in before:  # a buyer sends what the backup may not have again
            again.call("log_event", **body).raise_for_status()
    bodies = [body for body, _ in buyers.acknowledged.values()]
    conversions = exposed_events(bodies)
    eventually(lambda: counted(again, media_buy_id) == conversions, f"{conversions} conversions")
    again.stop()
    assert sent_events(bodies).items() <= stored_events(again).items()
    assert {f"{body['idempotency_key']}-broken" for body in bodies} <= stored_rejections(again)


def test_two_backups_at_once_each_have_their_snapshot_and_the_second_copies_less(
    start_own_server: StartServer, tmp_path: Path
) -> None:
    long = tmp_path / "a folder whose path is longer than the address of a socket may be".replace(" ", "-" * 5)
    long.mkdir()
    (tmp_path / "link").symlink_to(long)
    server = start_own_server(data=tmp_path / "link" / "data")
    server.call("sync_event_sources", event_sources=[{"event_source_id": "website"}]).raise_for_status()
    orders = {"event_source_id": "website", "events": shop_orders("order", 5_000)}
    server.call("log_event", **orders).raise_for_status()
    with open_source(settings_of(server)) as first:
        server.call("sync_event_sources", event_sources=[{"event_source_id": "app"}]).raise_for_status()
        with open_source(settings_of(server)) as second:
            assert first.root != second.root
            older, newer = write_backup(tmp_path / "backups", first), write_backup(tmp_path / "backups", second)
    assert older.added == older.size
    assert newer.added < newer.size / 2, "what did not change was copied again"
    eventually(lambda: not any((server.data / "tmp").glob("snapshot*")), "the end of the snapshots")
    assert not any((server.data / "events" / "shadow").glob("snapshot*"))


def test_a_server_that_is_killed_during_a_backup_starts_without_its_snapshot(
    start_own_server: StartServer, tmp_path: Path
) -> None:
    server = start_own_server()
    server.call("sync_event_sources", event_sources=[{"event_source_id": "website"}]).raise_for_status()
    with open_source(settings_of(server)) as source:
        whole = write_backup(tmp_path / "backups", source)
        server.process.kill()
        server.process.wait()
        with pytest.raises(StartupError, match="The server ended before the backup was complete"):
            write_backup(tmp_path / "backups", source)
        again = start_own_server(data=server.data)
        with pytest.raises(StartupError, match="The server ended before the backup was complete"):
            write_backup(tmp_path / "backups", source)
    assert backups_in(tmp_path / "backups") == [whole.path]
    assert not any((server.data / "tmp").glob("snapshot*"))
    assert "Backed up" in postback("backup", tmp_path / "backups", "--data", server.data)
    again.stop()
    assert not (server.data / "backup.sock").exists()


def test_a_disk_of_backups_that_is_full_harms_neither_the_server_nor_older_backups(
    start_own_server: StartServer, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs tmpfs {disk}"
    if not can(*_NAMESPACE, mount):
        pytest.skip("this system lets no test mount a disk of its own")
    server = start_own_server()
    server.call("sync_event_sources", event_sources=[{"event_source_id": "website"}]).raise_for_status()
    buyers = Buyers(server)
    buyers.send_one()
    backup = f"{sys.executable} -m postback backup {disk} --data {server.data}"
    steps = (
        mount,
        backup,
        # So few files that a second one breaks off in its midst.
        f"mount -o remount,nr_inodes=$(( $(df --output=iused {disk} | tail -1) + 100 )) {disk}",
        f"if {backup} 2> {tmp_path}/refused; then exit 1; fi",
        f"ls {disk}",
        f"{sys.executable} -m postback restore {disk}/*Z --verify",
    )
    done = subprocess.run([*_NAMESPACE, "\n".join(("set -e", *steps))], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"The disk of {disk} is full. Make room" in (tmp_path / "refused").read_text()
    _, only, lock, verified = done.stdout.splitlines()
    assert (only[-1], lock) == ("Z", "lock")
    assert verified.startswith("Whole: ")
    buyers.send_one()
    eventually(lambda: not any((server.data / "tmp").glob("snapshot*")), "the end of the snapshot")
