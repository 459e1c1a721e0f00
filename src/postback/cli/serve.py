"""postback serve: the server, until a signal stops it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import click
import uvicorn
import uvloop

from postback import logs
from postback.cli.processes import supervise
from postback.config import Settings, load_settings
from postback.errors import StartupError
from postback.transports.connections import bounded_protocol, close_overdue
from postback.unused_packages import keep_out_unused_packages

__all__ = ["IDLE_SECONDS", "serve"]

_log = logging.getLogger(__name__)

_STOP_SECONDS = 5
"""How long a stop waits for open requests: less than the ten seconds that container runtimes allow."""


_LONGEST_STOP_SECONDS = 9
"""After that the process ends, whatever hangs: what was acknowledged is on disk, and the next start goes on with it."""

_TICKS_A_SECOND = 10

IDLE_SECONDS = 120
"""How long an idle connection stays open. Agents think for a minute between two calls; a connection that closes just as
the next call is sent fails it. Clients and proxies close idle ones after 60 to 90 seconds themselves."""


@click.command()
@click.option("--host", help="Address to listen on (POSTBACK_HOST).")
@click.option("--port", metavar="PORT", help="TCP port to listen on (POSTBACK_PORT).")
@click.option("--data", metavar="DIR", help="Folder in which everything is stored (POSTBACK_DATA).")
@click.option(
    "--sandbox",
    is_flag=True,
    default=None,
    help="Simulate everything (POSTBACK_SANDBOX).",
)
@click.option("--processes", metavar="N", help="Processes that share the port (POSTBACK_PROCESSES).")
@click.option("--listeners", hidden=True, help="Sockets of the process that supervises this one.")
def serve(
    host: str | None,
    port: str | None,
    data: str | None,
    sandbox: bool | None,
    processes: str | None,
    listeners: str | None,
) -> None:
    """Run the server. Its settings are POSTBACK_* variables; these options override them.

    The first start creates the account "default" and prints an API key for it, which is shown only once.
    """
    given = {"host": host, "port": port, "data": data, "sandbox": sandbox, "processes": processes}
    settings = load_settings(os.environ, **given)
    logs.configure(settings.log_level, settings.log_format)
    keep_out_unused_packages()
    if settings.processes > 1:
        supervise(settings, _listen)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, [int(number) for number in (listeners or "").split(",") if number]))


async def _serve(settings: Settings, listening: Sequence[int]) -> None:
    """Serve on these sockets, by their numbers, as long as the process lives that gave them; else on one of its own."""
    asyncio.get_running_loop().set_exception_handler(logs.log_loop_exception)
    protocol = bounded_protocol()
    if listening:
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _stop_when_alone)
    with ExitStack() as opened:  # first, so that a start that can't listen creates no key that nobody sees
        given = [socket.socket(fileno=number) for number in listening]
        listeners = [opened.enter_context(listener) for listener in given or [_listen(settings, settings.port)]]
        # The engine takes a moment to load, so other commands don't import it.
        from postback.app import open_app

        async with open_app(settings) as (app, new_key):
            _announce(settings, new_key)
            config = uvicorn.Config(
                app,
                http=protocol,  # type: ignore[arg-type]  # uvicorn only calls it
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # what reads the caller's address does it itself
                timeout_keep_alive=IDLE_SECONDS,
                timeout_graceful_shutdown=_STOP_SECONDS,
            )
            await _Server(config).serve(listeners)


def _stop_when_alone() -> None:
    """Stop, when the process has ended that supervises this one."""
    if not os.read(sys.stdin.fileno(), 1):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        os.kill(os.getpid(), signal.SIGTERM)


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on a signal without exiting at once, as uvicorn would, so that the stores are closed."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop, number)
        yield

    def _stop(self, number: int) -> None:
        self.handle_exit(number, None)
        last = threading.Timer(_LONGEST_STOP_SECONDS, _give_up)
        last.daemon = True
        last.start()

    async def on_tick(self, counter: int) -> bool:
        """Once a second, close the connections whose callers take too long."""
        if counter % _TICKS_A_SECOND == 0:
            close_overdue(self.server_state.connections, asyncio.get_running_loop().time())
        return await super().on_tick(counter)


def _give_up() -> None:
    _log.critical("The stop takes longer than %d s: the process ends at once.", _LONGEST_STOP_SECONDS)
    os._exit(1)


def _listen(settings: Settings, port: int, *, shared: bool = False) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, port), family=family, backlog=2048, reuse_port=shared)
    except OSError as error:
        raise StartupError(
            f"Postback can't listen on {settings.host} port {port} ({error.strerror}). "
            "Choose another port with --port, or another address with --host."
        ) from error


def _announce(settings: Settings, new_key: str | None) -> None:
    click.echo(f"Postback listens on {settings.public_url} and stores its data in {settings.data}.")
    if new_key:
        click.echo(f"The API key of the account default, shown only once:\n\n    {new_key}\n")
