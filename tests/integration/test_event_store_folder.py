"""The data folder: who holds it, and the secret that must not get lost."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from postback.errors import StartupError
from postback.store.data_folder import DataDir


def test_the_first_start_makes_a_folder_that_only_its_user_can_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "data"
    DataDir.open(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE((path / "secret.key").stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_folder_that_others_can_read_is_closed_to_them(
    tmp_path: Path, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Its secret was there to be read, which only its owner can judge."""
    path = tmp_path / "data"
    path.mkdir()
    path.chmod(mode)
    DataDir.open(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert not caplog.messages, "there was nothing to read yet"

    path.chmod(mode)
    DataDir.open(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert "postback secret rotate" in caplog.text


def test_a_folder_with_other_things_is_not_taken_from_its_users(tmp_path: Path) -> None:
    """``--data /srv`` by mistake, as root."""
    path = tmp_path / "srv"
    path.mkdir(mode=0o755)
    (path / "lost+found").mkdir()
    (path / "website").mkdir()
    with pytest.raises(StartupError, match="what is in it is not Postback's"):
        DataDir.open(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o755

    (path / "website").rmdir()
    DataDir.open(path).close()


def test_a_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(StartupError, match="belongs to another user"):
        DataDir.open(tmp_path)


def test_the_secret_stays_the_same(tmp_path: Path) -> None:
    first = DataDir.open(tmp_path)
    first.close()
    again = DataDir.open(tmp_path)
    again.close()
    assert len(first.secret) == 32
    assert first.secret == again.secret


def test_two_folders_have_two_secrets(tmp_path: Path) -> None:
    one, two = DataDir.open(tmp_path / "one"), DataDir.open(tmp_path / "two")
    one.close()
    two.close()
    assert one.secret != two.secret


def test_a_second_server_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    folder = DataDir.open(tmp_path)
    with pytest.raises(StartupError, match=rf"{tmp_path} is in use by another server \(process {os.getpid()}\)"):
        DataDir.open(tmp_path)
    folder.close()
    DataDir.open(tmp_path).close()


def test_a_lost_secret_stops_the_start_once_there_are_events(tmp_path: Path) -> None:
    DataDir.open(tmp_path).close()
    (tmp_path / "events").mkdir()
    (tmp_path / "secret.key").unlink()
    with pytest.raises(StartupError, match=r"secret\.key is missing"):
        DataDir.open(tmp_path)


@pytest.mark.parametrize("damage", ["", "not hexadecimal", "abcd"])
def test_a_damaged_secret_stops_the_start_and_is_not_shown(tmp_path: Path, damage: str) -> None:
    (tmp_path / "secret.key").write_text(damage)
    with pytest.raises(StartupError, match=r"secret\.key must contain 64 hexadecimal digits"):
        DataDir.open(tmp_path)


def test_a_refused_start_leaves_the_folder_free(tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_text("damaged")
    with pytest.raises(StartupError):
        DataDir.open(tmp_path)
    (tmp_path / "secret.key").unlink()
    DataDir.open(tmp_path).close()


def test_what_a_crash_left_on_its_way_is_removed(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp" / "half.raw").touch()
    folder = DataDir.open(tmp_path)
    folder.close()
    assert not list(folder.scratch.iterdir())


@pytest.mark.parametrize("path", [Path("/proc/postback"), Path("/dev/null/postback")], ids=str)
def test_a_folder_that_takes_no_writes_stops_the_start(path: Path) -> None:
    with pytest.raises(StartupError, match=rf"The data folder {path} can't be used"):
        DataDir.open(path)


def test_a_path_that_the_engine_would_misread_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="contains"):
        DataDir.open(tmp_path / "what?")
