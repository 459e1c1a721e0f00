"""A sandbox offers what its callers seed, within bounds: everybody in it is offered all of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from postback.products.product import Product
from postback.sandbox.catalogue import SandboxCatalogue
from postback.sandbox.seeds import FixtureError, seeded_product
from postback.sandbox.simulations import Simulations
from postback.store.control_store import ControlStore


@pytest.fixture
def simulations(tmp_path: Path) -> Iterator[Simulations]:
    control = ControlStore(f"sqlite:///{tmp_path}/control.db")
    control.migrate()
    yield Simulations(control)
    control.close()


def seed(catalogue: SandboxCatalogue, product_id: str, **fixture: Any) -> None:
    def seeded(known: Product | None) -> Product:
        return seeded_product(product_id, fixture, known)

    catalogue.seed(product_id, seeded, priced=False)


def test_a_sandbox_has_so_many_seeded_products_and_each_may_be_seeded_again(simulations: Simulations) -> None:
    catalogue = SandboxCatalogue([], simulations, most_seeds=2)
    seed(catalogue, "one")
    seed(catalogue, "two")

    with pytest.raises(FixtureError, match="This sandbox has 2 seeded products"):
        seed(catalogue, "three")
    seed(catalogue, "one", name="Once more")

    assert {product.name for product in catalogue.list()} == {"Once more", "two"}
    assert {product.name for product in SandboxCatalogue([], simulations).list()} == {"Once more", "two"}


def test_a_seeded_product_has_a_size_that_everybody_can_be_offered(simulations: Simulations) -> None:
    catalogue = SandboxCatalogue([], simulations)

    with pytest.raises(FixtureError, match="at most 65,536 bytes"):
        seed(catalogue, "large", collections=["x" * 70_000])

    assert catalogue.list() == []
