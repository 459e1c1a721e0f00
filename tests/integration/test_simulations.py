"""What a sandbox simulates is kept whole, whichever database the control data lies in."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from postback.accounts.store import AccountStore
from postback.auth.principal import Account
from postback.errors import InvalidRequest
from postback.media_buys.media_buy import MediaBuy, Package
from postback.sandbox.simulations import SimulatedDay, Simulations
from postback.store.control_store import ControlStore

NOW = datetime.now(UTC)
DAY = date(2026, 1, 2)
BUY = MediaBuy(
    account_id="acme",
    media_buy_id="mb_1",
    currency="EUR",
    start_at=NOW,
    end_at=NOW + timedelta(days=1),
    created_at=NOW,
    total_budget=100.0,
    packages=(Package(package_id="p1", product_id="display", pricing_option_id="cpm", budget=100.0),),
)


@pytest.fixture
def control(control_url: str) -> Iterator[ControlStore]:
    store = ControlStore(control_url)
    store.migrate()
    AccountStore(store).create("acme", sandbox=True)
    yield store
    store.close()


def test_deliveries_at_once_add_up(control: ControlStore) -> None:
    simulations = Simulations(control)
    with ThreadPoolExecutor(8) as pool:
        for delivered in [pool.submit(simulations.deliver, BUY, DAY, SimulatedDay(impressions=1)) for _ in range(40)]:
            delivered.result()
        for spent in [pool.submit(simulations.spend, BUY, DAY, Decimal(95)) for _ in range(8)]:
            spent.result()

    total = simulations.deliveries([BUY])["acme", "mb_1"].total()

    assert (total.impressions, total.spend) == (40, Decimal(95))


def test_a_refused_status_leaves_the_account_as_it_is(control: ControlStore) -> None:
    accounts = AccountStore(control)

    def refuse(before: Account) -> None:
        raise InvalidRequest(f"It is {before.status}.")

    with pytest.raises(InvalidRequest, match="active"):
        accounts.set_status("acme", "closed", refuse)
    before = accounts.set_status("acme", "suspended", lambda _: None)

    assert before.status == "active"
    assert [account.status for account in accounts.list()] == ["suspended"]
