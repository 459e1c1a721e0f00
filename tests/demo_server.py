"""A server with the demo's data, for whatever looks at the console."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.conftest import Server, StartServer

from postback.cli.client import ServerClient
from postback.cli.demo.story import tell_story

__all__ = ["start_demo_server"]


def start_demo_server(start: StartServer, **settings: object) -> tuple[Server, str]:
    """A server to which the demo's story was told, and a console key of it."""
    server = start(sandbox=True, **settings)
    with ServerClient(server.url, server.key, lambda _: None) as client:
        tell_story(client, datetime.now(UTC))
    return server, server.command("console-keys", "create", "--name", "tests")
