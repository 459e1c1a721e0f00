"""The demo's story: a buyer's agent logs a shop's conversions, a seller its exposures, and both read the report."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import click
import msgspec

from postback.cli.client import ServerClient
from postback.cli.demo.delivery import MEDIA_BUY, exposures, media_buy, show_report
from postback.cli.demo.events import SOURCE, past_orders, shop_events, try_out_event
from postback.protocol.timestamps import rfc3339

__all__ = ["tell_story"]


def tell_story(client: ServerClient, now: datetime) -> None:
    """Call the tasks of a server, one after the other, and print what comes back."""
    _register(client)
    _log(client, "It sends the orders of the last two weeks.", _request(past_orders(now)), [])
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
