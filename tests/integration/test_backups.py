"""The operator backs up the folder of a stopped server, and finds out what a backup is worth before it is needed."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.conftest import eventually

from postback.accounts.store import AccountStore
from postback.cli import main
from postback.store.control_store import ControlStore
from postback.store.data_folder import DataDir, try_lock

PART = "events/store/98b/98b1ae4a-35ed-45b9-934f-bbded3d94879/all_1_1_0"


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def content(folder: Path) -> dict[str, bytes | str]:
    """What lies in a folder: files with their content, and links with where they lead."""
    found: dict[str, bytes | str] = {}
    for entry in folder.rglob("*"):
        name = str(entry.relative_to(folder))
        if entry.is_symlink():
            found[name] = str(entry.readlink())
        elif entry.is_file():
            found[name] = entry.read_bytes()
    return found


def accounts(data: Path) -> list[str]:
    with closing(sqlite3.connect(data / "control.db")) as control:
        return [account_id for (account_id,) in control.execute("SELECT account_id FROM account ORDER BY 1")]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with parts of a table, quarantined rows, and what doesn't belong into a backup."""
    folder = DataDir.open(tmp_path / "data")
    control = ControlStore(folder.control_url)
    control.migrate()
    AccountStore(control).create("default")
    control.close()
    folder.close()
    for name in ("data.bin", "checksums.txt"):
        file = folder.path / PART / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.urandom(100_000))
    for name in ("quarantine/rows", "log/0000000000000001-ab", "derived/index", "tmp/left", "events/shadow/left"):
        file = folder.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    (folder.path / "events" / "metadata").mkdir()
    (folder.path / "events" / "metadata" / "default").symlink_to("../store/98b")
    return folder.path


@pytest.fixture
def backups(tmp_path: Path) -> Path:
    return tmp_path / "backups"


@pytest.fixture
def made(data: Path, backups: Path) -> Path:
    """A backup."""
    return back_up(data, backups)


def back_up(data: Path, backups: Path) -> Path:
    before = set(backups.glob("*Z*"))
    done = run("backup", backups, "--data", data)
    assert done.exit_code == 0, done.output
    [path] = set(backups.glob("*Z*")) - before
    assert str(path) in done.output
    return path


def test_what_was_backed_up_comes_back(data: Path, made: Path, tmp_path: Path) -> None:
    restored = run("restore", made, "--data", tmp_path / "new")

    assert restored.exit_code == 0, restored.output
    assert "Everything that was acknowledged before" in restored.output
    original, again = content(data), content(tmp_path / "new")
    left_out = {"lock", "derived/index", "tmp/left", "events/shadow/left", "control.db", "control.db-wal"}
    assert {name: again.get(name) for name in original.keys() - left_out - {"control.db-shm"}} == {
        name: text for name, text in original.items() if name not in left_out | {"control.db-shm"}
    }
    assert again.keys() - original.keys() == set()
    assert again.keys() & left_out == {"control.db"}
    assert accounts(tmp_path / "new") == ["default"]


def test_only_the_owner_can_read_a_backup_and_what_is_restored(made: Path, tmp_path: Path) -> None:
    assert run("restore", made, "--data", tmp_path / "new").exit_code == 0
    for root in (made.parent, tmp_path / "new"):
        for entry in [root, *root.rglob("*")]:
            if not entry.is_symlink() and entry.name != "lock":
                assert entry.stat().st_mode & 0o077 == 0, entry


def test_a_second_backup_copies_only_what_is_new(data: Path, made: Path, tmp_path: Path) -> None:
    (data / PART / "checksums.txt").write_bytes(b"of another part by the same name")
    second = back_up(data, made.parent)

    unchanged, changed = f"data/{PART}/data.bin", f"data/{PART}/checksums.txt"
    assert (second / unchanged).stat().st_ino == (made / unchanged).stat().st_ino
    assert (second / changed).read_bytes() == b"of another part by the same name"
    assert (made / changed).stat().st_size == 100_000
    subprocess.run(["rm", "-r", made], check=True)
    assert run("restore", second, "--data", tmp_path / "new").exit_code == 0
    assert content(tmp_path / "new")[f"{PART}/data.bin"] == (data / PART / "data.bin").read_bytes()


def test_a_backup_after_a_restore_copies_only_what_is_new(made: Path, tmp_path: Path) -> None:
    assert run("restore", made, "--data", tmp_path / "new").exit_code == 0
    second = back_up(tmp_path / "new", made.parent)

    assert (second / "data" / PART / "data.bin").stat().st_nlink == 2


def _flip(backup: Path) -> None:
    file = backup / "data" / PART / "data.bin"
    broken = bytearray(file.read_bytes())
    broken[70_000] ^= 1
    file.write_bytes(broken)


def _cut(backup: Path) -> None:
    os.truncate(backup / "data" / PART / "data.bin", 70_000)


def _lose(backup: Path) -> None:
    (backup / "data" / PART / "data.bin").unlink()


@pytest.mark.parametrize(
    ("damage", "named"),
    [(_flip, "is not what was written"), (_cut, "is not what was written"), (_lose, "is missing")],
)
def test_a_damaged_backup_is_not_restored(
    made: Path, tmp_path: Path, damage: Callable[[Path], None], named: str
) -> None:
    damage(made)
    refused = run("restore", made, "--data", tmp_path / "new")

    assert refused.exit_code == 2
    assert f"data.bin {named}" in refused.output
    assert not any((tmp_path / "new").iterdir())
    verified = run("restore", made, "--verify")
    assert verified.exit_code == 1
    assert f"{PART}/data.bin" in verified.output
    assert "1 of " in verified.output


def test_a_damaged_file_is_not_built_on(data: Path, made: Path) -> None:
    _cut(made)
    second = back_up(data, made.parent)

    assert run("restore", second, "--verify").output.startswith("Whole: ")


def test_without_its_manifest_it_is_not_a_backup(made: Path, tmp_path: Path) -> None:
    (made / "manifest.json").unlink()
    refused = run("restore", made, "--data", tmp_path / "new")

    assert refused.exit_code == 2
    assert "is not a backup: it has no manifest.json" in refused.output


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"files": {"../outside": {"size": 1, "sha256": "", "changed_at": 0}}}, "names '../outside'"),
        ({"files": {"/etc/outside": {"size": 1, "sha256": "", "changed_at": 0}}}, "names '/etc/outside'"),
        ({"links": {"events/link": "../../outside"}}, "has a link to '../../outside'"),
        ({"links": {"events/link": "/etc"}}, "has a link to '/etc'"),
        ({"files": "none"}, "manifest.json is not what was written"),
        ({"format": 2}, "in a form that this version does not read"),
    ],
)
def test_a_manifest_leads_nowhere_else(made: Path, tmp_path: Path, changed: dict[str, object], named: str) -> None:
    manifest = json.loads((made / "manifest.json").read_text())
    (made / "manifest.json").write_text(json.dumps(manifest | changed))
    refused = run("restore", made, "--data", tmp_path / "new")

    assert refused.exit_code == 2
    assert named in refused.output
    assert not (tmp_path / "new").exists()


def test_a_folder_with_backups_names_the_newest(data: Path, made: Path) -> None:
    newest = max(made, back_up(data, made.parent))
    refused = run("restore", made.parent, "--data", data)

    assert refused.exit_code == 2
    assert f"the newest is {newest}." in refused.output


def test_nothing_is_restored_over_something(data: Path, made: Path) -> None:
    before = content(data)
    refused = run("restore", made, "--data", data)

    assert refused.exit_code == 2
    assert f"{data} is not empty. Restore into a new folder" in refused.output
    assert content(data) == before


def test_a_restore_that_was_killed_is_not_started_on(data: Path, backups: Path, tmp_path: Path) -> None:
    made, target = back_up(data, backups), tmp_path / "new"
    fifo = made / "data" / PART / "data.bin"
    fifo.unlink()
    os.mkfifo(fifo)  # whoever reads it waits
    command = [sys.executable, "-m", "postback", "restore", str(made), "--data", str(target)]
    with subprocess.Popen(command) as restoring:
        eventually((target / PART / "data.bin").exists, "the copy of a file", pause=0.001)
        restoring.send_signal(signal.SIGKILL)
    assert restoring.returncode == -signal.SIGKILL
    for words in (("attribute",), ("backup", backups)):
        refused = run(*words, "--data", target)
        assert refused.exit_code == 2
        assert "A backup was being restored into the data folder" in refused.output
    assert "is not empty" in run("restore", made, "--data", target).output


def test_two_backups_into_one_folder_wait_for_each_other(data: Path, made: Path) -> None:
    other = try_lock(made.parent / "lock")
    assert not isinstance(other, str)
    with other:
        refused = run("backup", made.parent, "--data", data)
    assert refused.exit_code == 2
    assert f"Process {os.getpid()} is writing a backup into {made.parent}." in refused.output
    back_up(data, made.parent)


def test_what_a_killed_backup_left_is_removed(data: Path, made: Path) -> None:
    left_behind = made.parent / "2026-01-01T000000Z.incomplete"
    left_behind.mkdir()
    (left_behind / "file").touch()
    back_up(data, made.parent)

    assert not left_behind.exists()


def test_a_backup_does_not_go_into_what_it_backs_up(data: Path) -> None:
    refused = run("backup", data / "backups", "--data", data)

    assert refused.exit_code == 2
    assert "is in the data folder" in refused.output


def test_only_a_data_folder_is_backed_up(tmp_path: Path) -> None:
    refused = run("backup", tmp_path / "backups", "--data", tmp_path / "elsewhere")

    assert refused.exit_code == 2
    assert "is not a data folder" in refused.output


def test_a_folder_that_a_command_works_on_is_not_backed_up(data: Path, backups: Path) -> None:
    folder = DataDir.open(data)
    refused = run("backup", backups, "--data", data)
    folder.close()

    assert refused.exit_code == 2
    assert f"is in use by process {os.getpid()}, which gives no snapshot" in refused.output
    assert [entry.name for entry in backups.iterdir()] == ["lock"]
