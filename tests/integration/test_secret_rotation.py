"""The operator replaces the secret, because somebody else may have read it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from postback.cli import main
from postback.errors import StartupError
from postback.exposures.click_tokens import ClickLink, ClickLinks
from postback.forwarding.encryption import Encryptor, Undecryptable
from postback.forwarding.outbox import Delivery, Outbox
from postback.store.control_store import ControlStore
from postback.store.data_folder import DataDir
from postback.store.installation import open_control_store, open_event_store
from postback.store.tables import forward

LINK = ClickLink("default", "mb_1", "pkg_1", "cr_1", "click_id", "https://shop.example/")


@contextmanager
def started(data: Path) -> Iterator[tuple[DataDir, ControlStore]]:
    with (
        closing(DataDir.open(data)) as folder,
        closing(open_control_store(folder, None)) as control,
        closing(open_event_store(folder, control, sandbox=False)),
    ):
        yield folder, control


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a delivery that waits, and one that another secret encrypted."""
    with started(tmp_path / "data") as (folder, control):
        encrypted = Encryptor(folder.secret).encrypt(b"an order", "waiting")
        foreign = Encryptor(bytes(32)).encrypt(b"an order", "foreign")
        Outbox(control).put(
            [
                Delivery("waiting", "crm", "default", "website", "key_1", 1, encrypted),
                Delivery("foreign", "crm", "default", "website", "key_1", 1, foreign),
            ]
        )
    return tmp_path / "data"


def rotate(data: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["secret", "rotate", "--data", str(data), *options])


def secret_of(data: Path) -> bytes:
    return bytes.fromhex((data / "secret.key").read_text())


def test_without_yes_nothing_changes_and_the_consequences_are_named(data: Path) -> None:
    before = secret_of(data)

    result = rotate(data)

    assert result.exit_code == 2
    assert "don't match exposures that were stored before" in result.output
    assert secret_of(data) == before


def test_what_can_be_keyed_anew_is(data: Path) -> None:
    before = secret_of(data)
    token = ClickLinks(before).token(LINK)

    result = rotate(data, "--yes")

    assert result.exit_code == 0, result.output
    assert "1 waiting deliveries" in result.output
    assert secret_of(data) != before
    with started(data) as (folder, control):
        assert ClickLinks(folder.secret, folder.previous_secrets()).read(token) == LINK
        assert ClickLinks(folder.secret).read(token) is None, "the new secret signs new links"
        with control.connect() as connection:
            stored = dict(connection.execute(select(forward.c.delivery_id, forward.c.encrypted)).all())
        assert Encryptor(folder.secret).decrypt(stored["waiting"], "waiting") == b"an order"
        with pytest.raises(Undecryptable):
            Encryptor(before).decrypt(stored["waiting"], "waiting")


@pytest.mark.parametrize("step", ["_replace", "complete_fingerprint", "replace_secret"])
def test_a_rotation_that_is_interrupted_stops_the_start_and_is_completed(
    data: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = secret_of(data)

    def power_failure(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(
            DataDir if step == "replace_secret" else sys.modules["postback.cli.secret"], step, power_failure
        )
        assert rotate(data, "--yes").exit_code != 0
    with pytest.raises(StartupError, match=r"interrupted. Complete it: postback secret rotate"), started(data):
        pass

    assert rotate(data, "--yes").exit_code == 0
    assert secret_of(data) != before
    with started(data) as (folder, control), control.connect() as connection:
        chosen = select(forward.c.encrypted).where(forward.c.delivery_id == "waiting")
        assert Encryptor(folder.secret).decrypt(connection.scalars(chosen).one(), "waiting") == b"an order"
        assert folder.previous_secrets() == [before]
