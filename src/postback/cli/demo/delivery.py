"""The demo's seller: a media buy, its impressions and clicks, and the delivery report."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import uuid4

import click

from postback.cli.demo.events import past_customers

__all__ = ["MEDIA_BUY", "exposures", "media_buy", "show_report"]

MEDIA_BUY = "mb_spring"
_PACKAGES = {f"{MEDIA_BUY}_1": "banners", f"{MEDIA_BUY}_2": "video"}
_BANNERS, _VIDEO = _PACKAGES

_SEEN = {0: [("click", _BANNERS)], 4: [("impression", _VIDEO)], 8: [("impression", _BANNERS), ("impression", _VIDEO)]}
"""What a few of each twelve customers saw before they ordered."""


def media_buy(now: datetime, product: dict[str, Any]) -> dict[str, Any]:
    """The arguments of create_media_buy: two packages that count the shop's purchases and their value."""
    goal = {
        "kind": "event",
        "event_sources": [{"event_source_id": "shop_orders", "event_type": "purchase", "value_field": "value"}],
        "target": {"kind": "per_ad_spend", "value": 4},
        "attribution_window": {
            "post_click": {"interval": 30, "unit": "days"},
            "post_view": {"interval": 1, "unit": "days"},
        },
    }
    package = {
        "product_id": product["product_id"],
        "pricing_option_id": product["pricing_options"][0]["pricing_option_id"],
        "budget": 2_000,
        "bid_price": 5,
        "optimization_goals": [goal],
    }
    return {
        "idempotency_key": str(uuid4()),
        "account": {"account_id": "default"},
        "brand": {"domain": "shop.example"},
        "start_time": _time(now - timedelta(days=14)),
        "end_time": _time(now + timedelta(days=14)),
        "packages": [package] * len(_PACKAGES),
        "ext": {"postback": {"media_buy_id": MEDIA_BUY}},
    }


def exposures(now: datetime) -> list[dict[str, Any]]:
    """Two weeks of exposures: anonymous views of both packages, and those of a few of the shop's customers."""
    anonymous = [
        _exposure(f"imp_{number}", "impression", [_BANNERS, _VIDEO][number % 2], now - timedelta(minutes=16 * number))
        for number in range(1_200)
    ]
    known = [
        _exposure("imp_ada", "impression", _VIDEO, now - timedelta(minutes=20), "ada@buyer.example"),
        _exposure("click_ada", "click", _BANNERS, now - timedelta(hours=5), "ada@buyer.example"),
        _exposure("imp_grace", "impression", _VIDEO, now - timedelta(days=2, hours=3), "grace@buyer.example"),
    ]
    past = [
        _exposure(f"seen_{index}_{package}", kind, package, moment - timedelta(hours=2 + index % 9), customer)
        for index, (customer, moment) in enumerate(past_customers(now))
        for kind, package in _SEEN.get(index % 12, ())
    ]
    return anonymous + known + past


def show_report(response: dict[str, Any]) -> None:
    """Print a delivery report as a table."""
    [delivery] = response["media_buy_deliveries"]
    columns: list[tuple[str, Callable[[dict[str, Any]], str]]] = [
        ("impressions", lambda part: f"{part['impressions']:,}"),
        ("clicks", lambda part: f"{part['clicks']:,}"),
        ("spend", lambda part: f"{part['spend']:,.2f}"),
        ("conversions", lambda part: f"{part['conversions']:,}"),
        ("value", lambda part: f"{part['conversion_value']:,.2f}"),
        ("ROAS", lambda part: f"{part['roas']:,.1f}" if "roas" in part else "-"),
        ("CPA", lambda part: f"{part['cost_per_acquisition']:,.2f}" if "cost_per_acquisition" in part else "-"),
    ]
    parts = [(_PACKAGES[part["package_id"]], part) for part in delivery["by_package"]]
    click.echo("  " + "".ljust(8) + "".join(title.rjust(13) for title, _ in columns))
    for name, part in [*parts, ("total", delivery["totals"])]:
        click.echo("  " + name.ljust(8) + "".join(shown(part).rjust(13) for _, shown in columns))
    click.echo(
        f"  in {response['currency']}; includes everything received by "
        f"{response['ext']['postback']['complete_through']}"
    )


def _exposure(
    exposure_id: str, kind: str, package_id: str, moment: datetime, person: str | None = None
) -> dict[str, Any]:
    digest = {"user_match": {"hashed_email": sha256(person.encode()).hexdigest()}} if person else {}
    return {
        "exposure_id": exposure_id,
        "kind": kind,
        "occurred_at": _time(moment),
        "media_buy_id": MEDIA_BUY,
        "package_id": package_id,
        "cost": 3.5 if kind == "click" else 0.025,
        "currency": "USD",
        **digest,
    }


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
