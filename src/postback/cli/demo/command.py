"""postback demo: a server, an event source, conversions and their results, exposures, and the delivery report."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import click
import msgspec

from postback.cli.client import ServerClient
from postback.cli.demo.delivery import MEDIA_BUY, exposures, media_buy, show_report
from postback.cli.demo.events import SOURCE, shop_events, try_out_event
from postback.errors import StartupError
from postback.protocol.timestamps import rfc3339

__all__ = ["demo"]

_DEFAULT_PORT = 8787


@click.command()
@click.option("--once", is_flag=True, envvar="DEMO_ONCE", show_envvar=True, help="Stop the server at the end.")
def demo(once: bool) -> None:
    """Start a server in a temporary folder, log conversions and exposures, and show the responses.

    The server then runs until Ctrl-C, and its URL, a key and a command to try are printed.
    """
    key = f"pb_demo_{secrets.token_urlsafe(32)}"
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the server is stopped, too
    with tempfile.TemporaryDirectory(prefix="postback-demo-") as folder, _server(folder, port, key) as server:
        _tell_story(server, url, key)
        if once:
            return
        _invite(url, key)
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


def _tell_story(server: subprocess.Popen[bytes], url: str, key: str) -> None:
    def waiting(_: str) -> None:
        if server.poll() is not None:
            raise StartupError("The demo's server stopped. Its error is printed above.")

    now = datetime.now(UTC)
    with ServerClient(url, key, waiting) as client:
        client.call("get_adcp_capabilities", b"{}")  # returns once the server is ready
        _register(client)
        batch = _request([event for _, event in shop_events(now)])
        _log(client, "The agent logs a batch of conversions.", batch, [what for what, _ in shop_events(now)])
        _log(client, "It loses the response, and sends the same request again.", batch, [])
        trial = _request([try_out_event(now)]) | {"test_event_code": "TRY-1"}
        _log(client, "Its developer sends a test event.", trial, ["a test event, stored apart from live ones"])
        misspelled = _request([try_out_event(now)]) | {"event_source_id": "shop_order"}
        _log(client, "The developer misspells the event source.", misspelled, [])
        _close_loop(client, now)


def _register(client: ServerClient) -> None:
    _headline("A buyer's agent registers its event source.", "sync_event_sources")
    body = _call(client, "sync_event_sources", {"idempotency_key": str(uuid.uuid4()), "event_sources": [SOURCE]})
    for source in body.get("event_sources", []):
        click.echo(f"  {source['event_source_id']}: {source['action']}, seller_id {source['seller_id']}")


def _close_loop(client: ServerClient, now: datetime) -> None:
    _headline("The agent buys two packages, and sets a conversion goal.", "create_media_buy")
    [product, *_] = _call(client, "get_products", {})["products"]
    bought = _call(client, "create_media_buy", media_buy(now, product))
    click.echo(f"  {bought['media_buy_id']} counts purchases: 30 days after a click, 1 day after a view")
    _headline("The seller's ad server reports its exposures.", "exposures")
    click.echo(f"  {_call(client, 'exposures', {'exposures': exposures(now)})['message']}")
    _headline("Both read the report.", "get_media_buy_delivery")
    show_report(_when_attributed(client))


def _when_attributed(client: ServerClient) -> dict[str, Any]:
    """The report, once it includes what was logged before; attribution runs about once a second."""
    received = rfc3339(datetime.now(UTC) + timedelta(seconds=1))
    while True:
        report = _call(client, "get_media_buy_delivery", {"media_buy_ids": [MEDIA_BUY]})
        if report["ext"]["postback"].get("complete_through", "") >= received:
            return report
        time.sleep(0.2)


def _log(client: ServerClient, story: str, request: dict[str, Any], descriptions: list[str]) -> None:
    _headline(story, "log_event")
    body = _call(client, "log_event", request)
    failures = {failure["index"]: failure for failure in body.get("partial_failures", [])}
    for index, what in enumerate(descriptions):
        if failure := failures.get(index):
            click.echo(f"  [{index}] {click.style('failed', fg='red')}    {what}")
            click.echo(f"      {failure['code']}: {failure['message']}")
        else:
            click.echo(f"  [{index}] {click.style('accepted', fg='green')}  {what}")
    if "events_received" in body:
        click.echo(
            f"  {body['events_received']} received, {body['events_processed']} processed, {len(failures)} failed, "
            f"match quality {body.get('match_quality')}" + (", replayed" if body.get("replayed") else "")
        )
    for warning in body.get("warnings", []) if descriptions else ():
        click.echo(f"  {click.style('warning', fg='yellow')} {warning}")


def _call(client: ServerClient, task: str, request: dict[str, Any]) -> dict[str, Any]:
    reply = client.call(task, msgspec.json.encode(request))
    if error := reply.error:
        click.echo(f"  {click.style('error', fg='red')} {error.get('code', '')}: {error['message']}")
        click.echo(f"  {error.get('suggestion', '')}")
    return reply.body


def _request(events: list[dict[str, Any]]) -> dict[str, Any]:
    source = SOURCE["event_source_id"]
    return {"adcp_version": "3.1", "idempotency_key": str(uuid.uuid4()), "event_source_id": source, "events": events}


def _headline(story: str, task: str) -> None:
    click.echo(f"\n{click.style(story, bold=True)}  POST /v1/{task}")


def _invite(url: str, key: str) -> None:
    click.echo(f"\n{click.style('The server is running. Press Ctrl-C to stop it.', bold=True)}")
    click.echo(f"  URL  {url}    MCP  {url}/mcp    A2A  {url}/a2a    OpenAPI  {url}/openapi.json")
    click.echo(f"  Key  {key}\n")
    click.echo("Look up an order's status and attribution:")
    click.echo(f"  curl -H 'Authorization: Bearer {key}' {url}/v1/events/shop_orders/purchase/order_98765")
