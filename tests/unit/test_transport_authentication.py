"""Where a caller may put its key and its request id."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from postback.transports.authentication import api_key, request_id


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer pb_key"},
        {"Authorization": "bearer   pb_key "},
        {"x-adcp-auth": "pb_key"},
        {"Authorization": "Basic dXNlcjpwYXNz", "x-adcp-auth": "pb_key"},
        {"Authorization": "Bearer pb_key", "x-adcp-auth": "pb_other"},
    ],
)
def test_the_key_is_found(headers: dict[str, str]) -> None:
    assert api_key(Headers(headers)) == "pb_key"


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer "}, {"Authorization": "pb_key"}, {"x-adcp-auth": ""}]
)
def test_no_key_is_no_key(headers: dict[str, str]) -> None:
    assert api_key(Headers(headers)) is None


def test_the_callers_request_id_is_kept() -> None:
    given = "01JB2Z6X9Q:retry.2"

    assert request_id(Headers({"X-Request-Id": given})) == given


@pytest.mark.parametrize("given", ["", "x" * 129, "two words", "jane@example.com", "+4930123456", "line\u0085break"])
def test_a_request_id_that_is_unfit_for_the_log_is_replaced(given: str) -> None:
    chosen = request_id(Headers({"X-Request-Id": given}))

    assert chosen != given
    assert len(chosen) == 32
