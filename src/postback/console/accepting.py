"""Whether a caller asks for JSON or for HTML."""

from __future__ import annotations

from starlette.requests import Request

__all__ = ["wants_json"]


def wants_json(request: Request) -> bool:
    """Whether ``format`` says so or, where it doesn't say, ``Accept`` prefers JSON to HTML (RFC 9110, 12.5.1)."""
    chosen = request.query_params.get("format")
    if chosen in {"html", "json"}:
        return chosen == "json"
    weights = dict(_weight(item) for item in request.headers.get("accept", "*/*").lower().split(","))
    return _weight_of("application/json", weights) > _weight_of("text/html", weights)


def _weight(item: str) -> tuple[str, float]:
    media_type, *parameters = (part.strip() for part in item.split(";"))
    weight = next((parameter[2:] for parameter in parameters if parameter.startswith("q=")), "1")
    try:
        return media_type, float(weight)
    except ValueError:
        return media_type, 0.0


def _weight_of(media_type: str, weights: dict[str, float]) -> float:
    ranges = media_type, f"{media_type.partition('/')[0]}/*", "*/*"
    return next((weights[name] for name in ranges if name in weights), 0.0)
