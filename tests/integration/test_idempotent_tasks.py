"""Every task that changes something keeps the rules of idempotency, whichever database the control data lies in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from tests.acceptance.conversions import call, order
from tests.acceptance.official import unique_key
from tests.integration import orders

from postback.tasks.registry import SELLER_TASKS, TASKS

if TYPE_CHECKING:
    from tests.conftest import Server, StartServer

Arguments = dict[str, Any]
ACCOUNT = {"account_id": "default"}


def _event(_: Server) -> Arguments:
    return {"event_source_id": "shop", "events": [order(unique_key())]}


def _sources(_: Server) -> Arguments:
    return {"account": ACCOUNT, "event_sources": [{"event_source_id": unique_key()}]}


def _accounts(_: Server) -> Arguments:
    brand = {"domain": f"{unique_key()}.example"}
    return {"accounts": [{"brand": brand, "operator": "agency.example", "billing": "operator"}]}


def _update(server: Server) -> Arguments:
    bought = orders.buy(server)
    return {"account": ACCOUNT, "media_buy_id": bought["media_buy_id"], "name": unique_key()}


def _exposures(_: Server) -> Arguments:
    shown = {
        "exposure_id": unique_key(),
        "kind": "impression",
        "occurred_at": "2026-01-15T14:30:00Z",
        "media_buy_id": "mb_acme",
        "package_id": "mb_acme_1",
    }
    return {"account": ACCOUNT, "exposures": [shown]}


def _delivery(server: Server) -> Arguments:
    bought = orders.buy(server)
    total = {
        "media_buy_id": bought["media_buy_id"],
        "package_id": bought["packages"][0]["package_id"],
        "hour": "2026-01-15T14:00:00Z",
        "impressions": 1000,
        "clicks": 3,
        "spend": 12.5,
        "currency": "USD",
    }
    return {"account": ACCOUNT, "totals": [total]}


CALLS: dict[str, Callable[[Server], Arguments]] = {
    "create_media_buy": lambda _: orders.order(name=unique_key()),
    "delivery": _delivery,
    "exposures": _exposures,
    "log_event": _event,
    "sync_accounts": _accounts,
    "sync_event_sources": _sources,
    "update_media_buy": _update,
}
"""By task, a call that was never made before and succeeds."""

every_task = pytest.mark.parametrize("task", sorted(CALLS))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest, start_server: StartServer) -> Iterator[Server]:
    """A sandbox whose control data lies in a database of this kind."""
    settings = {}
    if request.param == "postgresql":
        settings["control"] = request.getfixturevalue("new_postgresql")()
    running = start_server(sandbox="true", **settings)
    running.call("sync_event_sources", event_sources=orders.SOURCES).raise_for_status()
    yield running
    running.stop()


def made(shop: Server, task: str) -> Arguments:
    return CALLS[task](shop) | {"idempotency_key": unique_key()}


def run(shop: Server, task: str, arguments: Arguments) -> Any:
    answer = call(shop, "rest", task, arguments)
    answer.get("ext", {}).get("postback", {}).pop("request_id", None)
    return answer


def test_every_task_that_changes_something_is_here() -> None:
    changing = {name for name, task in (TASKS | SELLER_TASKS).items() if task.mutating}

    assert CALLS.keys() == changing - {"comply_test_controller"}  # which official runners call without a key


@every_task
def test_a_repeated_call_gets_the_first_answer(shop: Server, task: str) -> None:
    arguments = made(shop, task)

    first = run(shop, task, arguments)
    second = run(shop, task, arguments | {"context": {"try": 2}})

    assert first["status"] == "completed", first
    assert second == first | {"replayed": True, "context": {"try": 2}}


@every_task
def test_a_key_that_was_used_is_refused_for_other_arguments(shop: Server, task: str) -> None:
    arguments = made(shop, task)
    run(shop, task, arguments)

    refused = run(shop, task, CALLS[task](shop) | {"idempotency_key": arguments["idempotency_key"]})

    assert refused["adcp_error"]["code"] == "IDEMPOTENCY_CONFLICT"
    assert refused["adcp_error"].keys() == {"code", "message"}


@every_task
def test_a_key_that_was_used_is_refused_for_another_task(shop: Server, task: str) -> None:
    arguments = made(shop, task)
    run(shop, task, arguments)
    other = "sync_event_sources" if task == "log_event" else "log_event"

    refused = run(shop, other, CALLS[other](shop) | {"idempotency_key": arguments["idempotency_key"]})

    assert refused["adcp_error"]["code"] == "IDEMPOTENCY_CONFLICT"


def test_a_key_of_another_task_is_refused_for_accounts_too(shop: Server) -> None:
    arguments = made(shop, "log_event")
    run(shop, "log_event", arguments)

    refused = run(shop, "sync_accounts", _accounts(shop) | {"idempotency_key": arguments["idempotency_key"]})

    assert refused["adcp_error"]["code"] == "IDEMPOTENCY_CONFLICT"


def test_another_governance_context_makes_no_other_call(shop: Server) -> None:
    arguments = made(shop, "create_media_buy")
    run(shop, "create_media_buy", arguments | {"governance_context": "first"})

    again = run(shop, "create_media_buy", arguments | {"governance_context": "second"})

    assert again["replayed"]


def test_renewed_credentials_of_a_webhook_make_no_other_call_but_another_webhook_does(shop: Server) -> None:
    def synced(url: str, credentials: str) -> Any:
        webhook = {"url": url, "authentication": {"schemes": ["Bearer"], "credentials": credentials}}
        return run(shop, "sync_accounts", arguments | {"push_notification_config": webhook})

    arguments = made(shop, "sync_accounts")
    synced("https://buyer.example/hook", "first")

    assert synced("https://buyer.example/hook", "second")["replayed"]
    assert synced("https://other.example/hook", "second")["adcp_error"]["code"] == "IDEMPOTENCY_CONFLICT"


def test_of_accounts_synced_at_once_under_other_keys_one_is_created(shop: Server) -> None:
    wanted = _accounts(shop)

    with ThreadPoolExecutor(6) as pool:
        synced = pool.map(lambda _: run(shop, "sync_accounts", wanted | {"idempotency_key": unique_key()}), range(6))
        (accounts,) = zip(*(answer["accounts"] for answer in synced), strict=True)

    assert sorted(account["action"] for account in accounts) == ["created", *["unchanged"] * 5]
    assert len({account["account_id"] for account in accounts}) == 1


@every_task
def test_a_call_that_failed_frees_its_key(shop: Server, task: str) -> None:
    arguments = made(shop, task)

    failed = run(shop, task, arguments | {next(name for name in arguments if name != "account"): 7})
    corrected = run(shop, task, arguments)

    assert failed["status"] == "failed"
    assert corrected["status"] == "completed", corrected
    assert "replayed" not in corrected


@every_task
def test_of_calls_made_at_once_one_is_done(shop: Server, task: str) -> None:
    arguments = made(shop, task)

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: run(shop, task, arguments), range(6)))

    (done,) = (answer for answer in answers if "replayed" not in answer)
    assert [answer for answer in answers if "replayed" in answer] == [done | {"replayed": True}] * 5
