"""postback serve: the server, until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import click
import uvicorn
import uvloop

from postback import logs
from postback.cli.http import BoundedHeadProtocol
from postback.config import Settings, load_settings
from postback.errors import StartupError

__all__ = ["serve"]

_STOP_SECONDS = 5
"""How long a stop waits for callers that are not answered yet: less than the ten seconds of container runtimes."""


@click.command()
@click.option("--host", help="Address to listen on (POSTBACK_HOST).")
@click.option("--port", metavar="PORT", help="TCP port to listen on (POSTBACK_PORT).")
@click.option("--data", metavar="DIR", help="Folder of everything that is stored (POSTBACK_DATA).")
@click.option(
    "--sandbox",
    is_flag=True,
    default=None,
    help="Simulate everything (POSTBACK_SANDBOX).",
)
def serve(host: str | None, port: str | None, data: str | None, sandbox: bool | None) -> None:
    """Run the server. Its settings are POSTBACK_* variables; these options win over them.

    The first start creates the account "default" and prints an API key for it, this once.
    """
    settings = load_settings(os.environ, host=host, port=port, data=data, sandbox=sandbox)
    logs.configure(settings.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    with _listen(settings) as listener:  # first, so that a start that can't listen leaves no key behind unseen
        # The engine takes a moment to load, which the other commands need not wait for.
        from postback.app import build_app

        app = build_app(settings)
        _announce(settings, app.state.new_key)
        config = uvicorn.Config(
            app,
            http=BoundedHeadProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_STOP_SECONDS,
        )
        # The lifespan is entered here and not by uvicorn, which would log a StartupError and drop it.
        async with app.router.lifespan_context(app):
            await _Server(config).serve([listener])


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on a signal without dying of it, as uvicorn would, so that the stores are closed afterwards."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        raise StartupError(
            f"Postback can't listen on {settings.host} port {settings.port} ({error.strerror}). "
            "Choose another port by --port, or another address by --host."
        ) from error


def _announce(settings: Settings, new_key: str | None) -> None:
    click.echo(f"Postback listens on {settings.public_url}, and stores in {settings.data}.")
    if new_key:
        click.echo(f"The API key of the account default, shown only this once:\n\n    {new_key}\n")
