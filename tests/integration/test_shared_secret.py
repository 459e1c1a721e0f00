"""Several servers have one secret, from POSTBACK_SECRET."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from postback.cli import main
from postback.config import load_settings
from postback.errors import StartupError
from postback.exposures.click_tokens import ClickLink, ClickLinks
from postback.store.data_folder import DataDir
from postback.store.installation import open_control_store, open_event_store

LINK = ClickLink("default", "mb_1", "pkg_1", "cr_1", "click_id", "https://shop.example/")
SECRET = "0123456789abcdef" * 4


@pytest.fixture
def url(new_postgresql: Callable[[], str]) -> str:
    return new_postgresql()


@contextmanager
def opened(data: Path, url: str | None, secret: str | None = None) -> Iterator[DataDir]:
    """A data folder and its control store, as a start opens them."""
    with closing(DataDir.open(data, secret)) as folder, closing(open_control_store(folder, url)):
        yield folder


def start_first(data: Path, url: str | None, secret: str | None = None) -> None:
    with (
        closing(DataDir.open(data, secret)) as folder,
        closing(open_control_store(folder, url)) as control,
        closing(open_event_store(folder, control, sandbox=False)),
    ):
        pass


def test_a_new_folder_takes_the_secret_and_works_with_and_without_the_setting(tmp_path: Path, url: str) -> None:
    start_first(tmp_path / "data", url, SECRET)

    for given in (SECRET, None):
        with opened(tmp_path / "data", url, given) as folder:
            assert folder.secret.hex() == SECRET


def test_another_secret_is_refused_with_the_way_out(tmp_path: Path, url: str) -> None:
    start_first(tmp_path / "data", url, SECRET)

    with pytest.raises(StartupError) as refused, opened(tmp_path / "data", url, secrets.token_hex(32)):
        pass
    with pytest.raises(StartupError) as elsewhere, opened(tmp_path / "other", url, secrets.token_hex(32)):
        pass

    assert f"{tmp_path}/data/secret.key has the right one; put its content into POSTBACK_SECRET" in str(refused.value)
    assert "Set it to the content of secret.key in the data folder of a server that works on" in str(elsewhere.value)
    assert SECRET not in str(refused.value) + str(elsewhere.value)


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_secret_that_was_replaced_elsewhere_is_taken_up(
    tmp_path: Path, url: str, interrupted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_first(tmp_path / "one", url, SECRET)
    shutil.copytree(tmp_path / "one", tmp_path / "two", symlinks=True)
    (tmp_path / "two").chmod(0o700)
    token = ClickLinks(bytes.fromhex(SECRET)).token(LINK)
    environ = {"POSTBACK_CONTROL": url, "POSTBACK_SECRET": SECRET}
    rotated = CliRunner(env=environ).invoke(main, ["secret", "rotate", "--yes", "--data", str(tmp_path / "one")])
    new = (tmp_path / "one" / "secret.key").read_text().strip()

    assert rotated.exit_code == 0, rotated.output
    assert f"Now set POSTBACK_SECRET to the content of {tmp_path}/one/secret.key" in rotated.output
    with (
        pytest.raises(StartupError, match="put its content into POSTBACK_SECRET"),
        opened(tmp_path / "one", url, SECRET),
    ):
        pass
    if interrupted:
        with monkeypatch.context() as patched:
            patched.setattr(DataDir, "replace_secret", _power_failure)
            with pytest.raises(KeyboardInterrupt), opened(tmp_path / "two", url, new):
                pass
    with opened(tmp_path / "two", url, new) as folder:
        assert folder.secret.hex() == new
        assert ClickLinks(folder.secret, folder.previous_secrets()).read(token) == LINK


def _power_failure(*_: object) -> None:
    raise KeyboardInterrupt


def test_the_secret_may_be_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")

    assert load_settings({"POSTBACK_SECRET_FILE": str(file)}).secret == SECRET
    with pytest.raises(StartupError, match="are both set"):
        load_settings({"POSTBACK_SECRET_FILE": str(file), "POSTBACK_SECRET": SECRET})
    with pytest.raises(StartupError, match="which can't be read"):
        load_settings({"POSTBACK_SECRET_FILE": str(tmp_path / "none")})


@pytest.mark.parametrize(
    "text",
    ["opensesame", SECRET[1:], f"{SECRET}00", "x" * 64, "\u0664" * 64],
    ids=["words", "too short", "too long", "not hexadecimal", "other digits"],
)
def test_a_malformed_secret_is_refused_and_not_repeated(tmp_path: Path, text: str) -> None:
    file = tmp_path / "secret"
    file.write_text(text)

    for environ in ({"POSTBACK_SECRET": text}, {"POSTBACK_SECRET_FILE": str(file)}):
        with pytest.raises(StartupError, match="64 hexadecimal digits") as refused:
            load_settings(environ)
        assert text not in str(refused.value)
