"""A span for each exchange, in the trace that the caller names by the header ``traceparent`` (W3C Trace Context)."""

from __future__ import annotations

from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp, Receive, Scope, Send

from postback.telemetry import Telemetry
from postback.transports.middleware import Exchange

__all__ = ["TracingMiddleware"]

_PROPAGATOR = TraceContextTextMapPropagator()
_CARRIED = {b"traceparent", b"tracestate"}
_UNTRACED = frozenset(("/healthz", "/readyz", "/metrics"))


class TracingMiddleware:
    """Wraps the whole application."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self.app = app
        self._tracer = telemetry.tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _UNTRACED:
            await self.app(scope, receive, send)
            return
        carrier = {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in _CARRIED}
        parent = _PROPAGATOR.extract(carrier)
        with self._tracer.start_as_current_span(scope["method"], context=parent, kind=SpanKind.SERVER) as span:
            await self.app(scope, receive, send)
            exchange = Exchange.of(scope)
            route = getattr(scope.get("route"), "path", None)
            span.update_name(exchange.task if exchange.transport else f"{scope['method']} {route or ''}".strip())
            span.set_attribute("http.request.method", scope["method"])
            span.set_attribute("http.response.status_code", exchange.status)
            span.set_attribute("postback.request_id", exchange.request_id)
            span.set_attribute("postback.outcome", exchange.outcome)
            if route:
                span.set_attribute("http.route", route)
            if exchange.transport:
                span.set_attribute("postback.transport", exchange.transport)
            if exchange.status >= 500:
                span.set_status(StatusCode.ERROR)
