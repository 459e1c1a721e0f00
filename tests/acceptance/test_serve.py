"""The seller's engineer starts the server, stops it, and starts it again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.conftest import HTTP, free_port

ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith("POSTBACK_")}


@pytest.fixture
def port() -> int:
    return free_port()


def command(data: Path, port: int, *options: str) -> list[str]:
    return [sys.executable, "-m", "postback", "serve", "--data", str(data), "--port", str(port), *options]


@contextmanager
def served(data: Path, port: int, **environ: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running server, and what it printed until it was ready."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command(data, port), env=ENVIRON | environ, stdout=pipe, stderr=pipe, text=True) as server:
        try:
            yield server, _printed_until_ready(server, port)
        finally:
            server.kill()


def _printed_until_ready(server: subprocess.Popen[str], port: int) -> str:
    assert server.stdout
    lines = [server.stdout.readline()]  # printed once it listens and the stores are open
    assert HTTP.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    os.set_blocking(server.stdout.fileno(), False)
    return "".join([*lines, *server.stdout.readlines()])


def status_with(key: str, port: int) -> int:
    call = HTTP.post(
        f"http://127.0.0.1:{port}/v1/sync_event_sources",
        json={"idempotency_key": "discovery-of-sources"},
        headers={"Authorization": f"Bearer {key}"},
    )
    return call.status_code


def test_the_first_start_prints_a_key_that_works_and_later_ones_print_none(tmp_path: Path, port: int) -> None:
    with served(tmp_path / "data", port) as (server, printed):
        assert f"http://127.0.0.1:{port}" in printed
        (key,) = re.findall(r"pb_[\w-]{32,}", printed)
        assert status_with(key, port) == 200

        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0

    with served(tmp_path / "data", port) as (server, printed):
        assert "pb_" not in printed
        assert status_with(key, port) == 200

        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0


def test_a_container_brings_its_own_key(tmp_path: Path, port: int) -> None:
    key = "a-key-from-the-secret-store-of-the-container"
    with served(tmp_path / "data", port, POSTBACK_BOOTSTRAP_KEY=key) as (_, printed):
        assert key not in printed
        assert status_with(key, port) == 200
        assert status_with("another-key-of-somebody", port) == 401


@pytest.mark.parametrize(
    ("environ", "options", "sentence"),
    [
        ({"POSTBACK_RATE_LIMITS": "0"}, (), "the closest is POSTBACK_RATE_LIMIT"),
        ({}, ("--port", "many"), "POSTBACK_PORT is 'many', but must be a whole number"),
        ({}, ("--host", "192.0.2.1"), "can't listen on 192.0.2.1"),
        ({}, ("--data", "/dev/null/data"), "/dev/null/data"),
    ],
)
def test_a_start_that_fails_says_why_in_one_sentence(
    tmp_path: Path, port: int, environ: dict[str, str], options: tuple[str, ...], sentence: str
) -> None:
    run = subprocess.run(
        command(tmp_path / "data", port, *options), env=ENVIRON | environ, capture_output=True, text=True, check=False
    )

    assert run.returncode == 2
    assert run.stderr.startswith("Error: ")
    assert run.stderr.count("\n") == 1
    assert sentence in run.stderr


def test_a_second_server_on_the_folder_refuses_to_start(tmp_path: Path, port: int) -> None:
    with served(tmp_path / "data", port) as (server, _):
        run = subprocess.run(
            command(tmp_path / "data", free_port()), env=ENVIRON, capture_output=True, text=True, check=False
        )

        assert run.returncode == 2
        assert str(tmp_path / "data") in run.stderr
        assert str(server.pid) in run.stderr


def test_the_demo_tells_its_story_and_stops() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "postback", "demo"],
        env=ENVIRON | {"DEMO_ONCE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (run.returncode, run.stderr) == (0, "")
    assert "10 received, 6 processed, 4 failed" in run.stdout
    assert "replayed" in run.stdout
    assert "REFERENCE_NOT_FOUND" in run.stdout
