"""What each pricing model asks of a pricing option (pricing-options/*.json), beside the types of its fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from postback.products.product import PricingOption
from postback.protocol.currencies import CURRENCIES

__all__ = ["completed_price", "pricing_errors"]

_TIME_UNITS = ("hour", "day", "week", "month")

_REQUIRED: Mapping[str, tuple[str, ...]] = {
    "cpa": ("event_type", "fixed_price"),
    "cpv": ("parameters",),
    "cpp": ("parameters",),
    "time": ("parameters",),
    "revenue_share": ("event_type", "event_source_id", "commission_rate", "commission_basis_description"),
}
_PARAMETER: Mapping[str, tuple[str, str]] = {
    "cpv": ("view_threshold", "a share from 0 to 1, for example 0.5, or {duration_seconds = 15}"),
    "cpp": ("demographic", "a code of the demographic system, for example P18-49"),
    "time": ("time_unit", f"one of {', '.join(_TIME_UNITS)}"),
    "flat_rate": ("type", "dooh, for digital out-of-home; or omit parameters"),
}
_NO_PRICE = ("fixed_price", "floor_price", "price_guidance", "max_bid")

_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "cpa": {"event_type": "purchase", "fixed_price": 10.0},
    "cpv": {"parameters": {"view_threshold": 0.5}},
    "cpp": {"parameters": {"demographic": "P18-49"}},
    "time": {"parameters": {"time_unit": "day"}},
    "revenue_share": {
        "event_type": "purchase",
        "event_source_id": "website",
        "commission_rate": 0.1,
        "commission_basis_description": "Order value without taxes and shipping, less returns.",
    },
}
_DOOH = {"type": "dooh"}
"""The only parameters that AdCP has for a flat rate."""

_FLOOR = 1.0


def pricing_errors(option: PricingOption, at: str) -> Iterator[str]:
    """What is wrong with a pricing option, each as a sentence that begins with the path ``at``."""
    if option.currency not in CURRENCIES:
        yield f"{at}.currency is not an ISO 4217 currency code. Use a code such as EUR."
    if option.fixed_price is not None and option.floor_price is not None:
        yield f"{at} has both fixed_price and floor_price. Remove one: an auction has no fixed price."
    for name in _REQUIRED.get(option.pricing_model, ()):
        if getattr(option, name) is None:
            yield f"{at}.{name} is required for the pricing model {option.pricing_model}."
    yield from _parameter_errors(option, at)
    if option.pricing_model == "revenue_share":
        for name in _NO_PRICE:
            if getattr(option, name) is not None:
                yield f"{at}.{name} has no meaning for the pricing model revenue_share. Remove it."
    if option.pricing_model == "cpa" and option.fixed_price == 0:
        yield f"{at}.fixed_price must be greater than 0 for the pricing model cpa."
    if option.event_type == "custom" and option.custom_event_name is None:
        yield f"{at}.custom_event_name is required for the event_type custom."


def completed_price(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a partial pricing option, with what its model requires; by default a CPM in US dollars."""
    price: dict[str, Any] = {"pricing_model": "cpm", "currency": "USD", **fields}
    defaults = _DEFAULTS.get(str(price["pricing_model"]), {})
    sent = price.get("parameters")
    price = {**defaults, **price}
    if isinstance(sent, dict):
        price["parameters"] = {
            **(_DOOH if price["pricing_model"] == "flat_rate" else defaults.get("parameters", {})),
            **sent,
        }
    if "fixed_price" not in price and price["pricing_model"] != "revenue_share":
        price.setdefault("floor_price", _FLOOR)
    return price


def _parameter_errors(option: PricingOption, at: str) -> Iterator[str]:
    name, expected = _PARAMETER.get(option.pricing_model, ("", ""))
    if not name or option.parameters is None:
        return
    value = option.parameters.get(name)
    if not _FITS[option.pricing_model](value):
        yield f"{at}.parameters.{name} must be {expected}."


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _is_threshold(value: object) -> bool:
    seconds = value.get("duration_seconds") if isinstance(value, dict) else None
    return _is_share(value) or (isinstance(seconds, int) and not isinstance(seconds, bool) and seconds >= 1)


_FITS: Mapping[str, Callable[[object], bool]] = {
    "cpv": _is_threshold,
    "cpp": lambda value: isinstance(value, str) and bool(value.strip()),
    "time": lambda value: value in _TIME_UNITS,
    "flat_rate": lambda value: value == "dooh",
}
