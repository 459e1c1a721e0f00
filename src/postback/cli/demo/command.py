"""postback demo: a server, an event source, conversions and their results, exposures, and the delivery report."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial

import click

from postback.auth.console_keys import ConsoleKeys
from postback.cli.client import ServerClient
from postback.cli.control import open_control
from postback.cli.demo.story import tell_story
from postback.errors import StartupError

__all__ = ["demo"]

_DEFAULT_PORT = 8787


@click.command()
@click.option("--once", is_flag=True, envvar="DEMO_ONCE", show_envvar=True, help="Stop the server at the end.")
def demo(once: bool) -> None:
    """Start a server in a temporary folder, log conversions and exposures, and show the responses.

    The server then runs until Ctrl-C; its URLs and keys, the console's too, and a command to try are printed.
    """
    key = f"pb_demo_{secrets.token_urlsafe(32)}"
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the server is stopped, too
    with tempfile.TemporaryDirectory(prefix="postback-demo-") as folder, _server(folder, port, key) as server:
        with ServerClient(url, key, partial(_require_running, server)) as client:
            client.call("get_adcp_capabilities", b"{}")  # returns once the server is ready
            tell_story(client, datetime.now(UTC))
        if once:
            return
        with open_control(folder) as control:
            _invite(url, key, ConsoleKeys(control).create("demo")[1])
        try:
            server.wait()
        except KeyboardInterrupt:
            click.echo()


def _free_port() -> int:
    """The default port, or any free one if that is in use."""
    for port in (_DEFAULT_PORT, 0):
        try:
            with socket.create_server(("127.0.0.1", port)) as listener:
                return int(listener.getsockname()[1])
        except OSError:
            continue
    raise StartupError("No TCP port is free on 127.0.0.1.")


@contextmanager
def _server(folder: str, port: int, key: str) -> Iterator[subprocess.Popen[bytes]]:
    environ = os.environ | {"POSTBACK_BOOTSTRAP_KEY": key, "POSTBACK_LOG_LEVEL": "warning", "POSTBACK_SANDBOX": "true"}
    command = [sys.executable, "-m", "postback", "serve", "--host", "127.0.0.1", "--port", str(port), "--data", folder]
    with subprocess.Popen(command, env=environ) as server:  # noqa: S603 - our own command line
        try:
            yield server
        finally:
            server.terminate()
            server.wait()  # the folder can be removed only after that, also after Ctrl-C


def _require_running(server: subprocess.Popen[bytes], _: str) -> None:
    if server.poll() is not None:
        raise StartupError("The demo's server stopped. Its error is printed above.")


def _invite(url: str, key: str, console_key: str) -> None:
    click.echo(f"\n{click.style('The server is running. Press Ctrl-C to stop it.', bold=True)}")
    click.echo("Look up an order's status and attribution:")
    click.echo(f"  curl -H 'Authorization: Bearer {key}' {url}/v1/events/shop_orders/purchase/order_98765\n")
    click.echo(f"URL      {url}    MCP {url}/mcp    A2A {url}/a2a    OpenAPI {url}/openapi.json")
    click.echo(f"API key  {key}\n")
    click.echo(click.style("Open the console, and sign in with its key:", bold=True))
    click.echo(f"  {url}/console")
    click.echo(f"  {console_key}")
