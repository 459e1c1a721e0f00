"""Servers on one machine that share a port, each in a process and a data folder of its own, and who keeps them running.

The listening sockets belong to the process that supervises: the connections that wait for a server that died are taken
by the one that is started in its place.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple, cast

import click

from postback.config import Settings
from postback.errors import StartupError
from postback.store.data_folder import try_lock

__all__ = ["supervise"]

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 10.0
_STOP_SECONDS = 12.0
"""A server ends within nine seconds; one that doesn't is killed."""

_FOLDER = "process-"

_log = logging.getLogger(__name__)


class _Unstarted(Exception):
    """A server could not start, and has said why."""


class _Place(NamedTuple):
    """What one server has for itself: its number, its data folder, its share of the port, and a port of its own."""

    number: int
    folder: Path
    sockets: tuple[socket.socket, socket.socket]


def supervise(settings: Settings, listen: Callable[..., socket.socket]) -> None:
    """Run as many servers as the settings say, until a signal stops them.

    One that ends is started again on its folder, so that its log goes on.

    Args:
        settings: Theirs.
        listen: Returns a socket that listens on a port: ``listen(settings, port, shared=True)``.

    Raises:
        StartupError: The folder or a port can't be used.
        SystemExit: One could not start; or one had to be killed at the end.
    """
    with ExitStack() as opened:
        opened.enter_context(_locked(settings))
        listen(settings, settings.port).close()  # nobody else has the port, whom a shared one would not disturb
        places = [
            _Place(
                number,
                settings.data / f"{_FOLDER}{number}",
                (
                    opened.enter_context(listen(settings, settings.port, shared=True)),
                    opened.enter_context(listen(settings, settings.port + number)),
                ),
            )
            for number in range(1, settings.processes + 1)
        ]
        raise SystemExit(asyncio.run(_Supervisor(settings, places).run()))


def _locked(settings: Settings) -> ExitStack:
    """The folder of the data folders, locked; nothing waits in it for a server that is not to be started."""
    opened = ExitStack()
    try:
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = try_lock(settings.data / "lock")
        if isinstance(lock, str):
            raise StartupError(f"The data folder {settings.data} is in use by another server (process {lock}).")
        opened.enter_context(lock)
        own = {settings.data / f"{_FOLDER}{number}" for number in range(1, settings.processes + 1)}
        for folder in {settings.data, *settings.data.glob(f"{_FOLDER}*")} - own:
            if (folder / "log").is_dir() and any((folder / "log").iterdir()):
                opened.close()
                raise StartupError(
                    f"Calls wait in {folder}/log, which none of these {settings.processes} processes uses. Store them "
                    f"with 'postback log adopt {folder}', or start as many processes as before."
                )
    except OSError as error:
        raise StartupError(f"The data folder {settings.data} can't be used ({error.strerror}).") from error
    return opened


class _Supervisor:
    def __init__(self, settings: Settings, places: list[_Place]) -> None:
        self._settings = settings
        self._places = places
        self._running: dict[int, Process] = {}
        self._stopping = asyncio.Event()
        self._starting = len(places)

    async def run(self) -> int:
        """Run until a signal comes, or one can't start; returns the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stopping.set)
        keepers = [asyncio.create_task(self._keep(place)) for place in self._places]
        stop = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([stop, *keepers], return_when=asyncio.FIRST_COMPLETED)
        self._stopping.set()
        for process in self._running.values():
            with suppress(ProcessLookupError):
                process.terminate()
        ended = await asyncio.gather(*keepers, return_exceptions=True)
        return max((status if isinstance(status, int) else 2 for status in ended), default=0)

    async def _keep(self, place: _Place) -> int:
        """Run a server, again and again; returns its exit status when all are stopped."""
        pause, was_ready = _FIRST_PAUSE, False
        while True:
            process = self._running[place.number] = await self._started(place)
            ready = await self._followed(process, first=not was_ready)
            status = await self._ended(process)
            del self._running[place.number]
            was_ready = was_ready or ready
            if self._stopping.is_set():
                return 0 if status in (0, -signal.SIGTERM, -signal.SIGINT) else 1
            if not was_ready:
                raise _Unstarted
            pause = _FIRST_PAUSE if ready else min(2 * pause, _LONGEST_PAUSE)
            _log.error(
                "process %d of %d ended (status %d) and starts again in %g s",
                place.number,
                len(self._places),
                status,
                pause,
            )
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            if self._stopping.is_set():
                return 0

    async def _started(self, place: _Place) -> Process:
        settings, shared = self._settings, [listener.fileno() for listener in place.sockets]
        environ = os.environ | {
            "POSTBACK_DATA": str(place.folder),
            "POSTBACK_HOST": settings.host,
            "POSTBACK_PORT": str(settings.port),
            "POSTBACK_SANDBOX": str(settings.sandbox).lower(),
            "POSTBACK_PUBLIC_URL": settings.public_url,
            "POSTBACK_PROCESSES": "1",
        }
        if settings.validation_workers is None:
            environ["POSTBACK_VALIDATION_WORKERS"] = str(min(4, (os.cpu_count() or 1) // len(self._places)))
        command = [sys.executable, "-m", "postback", "serve", "--listeners", ",".join(map(str, shared))]
        # Its standard input is closed when this process ends, however it does, and it ends, too.
        return await asyncio.create_subprocess_exec(*command, env=environ, pass_fds=shared, stdin=PIPE, stdout=PIPE)

    async def _followed(self, process: Process, *, first: bool) -> bool:
        """Pass on what a server prints; returns whether it got ready, as its first line says."""
        printed = cast(asyncio.StreamReader, process.stdout)
        ready = bool(await printed.readline())
        if ready and first:
            self._starting -= 1
            if not self._starting:
                settings = self._settings
                own = f"{settings.port + 1} to {settings.port + len(self._places)}"
                click.echo(
                    f"{len(self._places)} processes listen on {settings.public_url}, and on the ports {own} each for "
                    f"itself, and store their data in {settings.data}."
                )
        while line := await printed.readline():
            click.echo(line.decode(errors="replace"), nl=False)
        return ready

    async def _ended(self, process: Process) -> int:
        ending = asyncio.create_task(process.wait())
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([ending, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        with suppress(TimeoutError):
            return await asyncio.wait_for(asyncio.shield(ending), _STOP_SECONDS)
        process.kill()
        return await ending
