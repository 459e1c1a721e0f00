"""The catalogue of a sandbox, to which its test controller adds products."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock

import msgspec

from postback.products.product import Catalogue, Product
from postback.sandbox.seeds import FixtureError
from postback.sandbox.simulations import Seed, Simulations

__all__ = ["SandboxCatalogue"]

_DEFAULT = "default"
"""The pricing_option_id that official runners use for a seeded product, whatever its own ids are."""

_MOST_SEEDS = 1_000
_MOST_BYTES = 65_536
"""Of one seeded product: everybody in the sandbox is offered all of them."""


class SandboxCatalogue(Catalogue):
    """The products on offer: seeded ones first, then the seller's. Thread-safe.

    Products that are seeded one after another, before their prices, form a batch and stay in order; the newest batch
    comes first, because official runners expect what they seeded last at the top.

    Args:
        products: The seller's.
        simulations: Where seeded ones are stored.
        most_seeds: How many there may be.
    """

    def __init__(self, products: Iterable[Product], simulations: Simulations, most_seeds: int = _MOST_SEEDS) -> None:
        super().__init__(products)
        self._own = self._by_id
        self._simulations = simulations
        self._seeds = {seed.product.product_id: seed for seed in simulations.seeds()}
        self._most_seeds = most_seeds
        self._waiting = False
        self._lock = Lock()
        self._arrange()

    def seed(self, product_id: str, seeded: Callable[[Product | None], Product], *, priced: bool) -> None:
        """Offer what ``seeded`` makes of the product of this id, if there is one; nobody else changes it meanwhile.

        Args:
            product_id: The product.
            seeded: Makes it.
            priced: Whether it has its prices, so that it is a batch of its own. Otherwise they come after its batch.

        Raises:
            FixtureError: There are too many, or it is too large.
            StoreUnavailable: The control store doesn't take it. What ``seeded`` raises is passed on; nothing changes.
        """
        with self._lock:
            joins = self._waiting and not priced
            self._save(Seed(seeded(self._plain(product_id)), *self._place(product_id, joins=joins)))
            self._waiting = not priced

    def price(self, product_id: str, priced: Callable[[Product | None], Product]) -> None:
        """Replace a product by what ``priced`` returns for it, at the same position; adds one that isn't seeded yet.

        Raises:
            FixtureError: There are too many, or it is too large.
            StoreUnavailable: The control store doesn't take it. What ``priced`` raises is passed on; nothing changes.
        """
        with self._lock:
            known = self._seeds.get(product_id)
            place = (known.batch, known.place) if known else self._place(product_id, joins=False)
            self._save(Seed(priced(self._plain(product_id)), *place))
            self._waiting = False

    def list(self) -> list[Product]:
        """All products, seeded ones without the price ``default``."""
        return self._listed

    def rank(self, product_id: str) -> int:
        """The number of the batch in which a product was seeded; 0 for the seller's own products."""
        seed = self._seeds.get(product_id)
        return seed.batch if seed else 0

    def _place(self, product_id: str, *, joins: bool) -> tuple[int, int]:
        """The batch of a product, and its position there; a product that is in the batch already starts a new one."""
        newest = max((seed.batch for seed in self._seeds.values()), default=0)
        batch = {seed.product.product_id for seed in self._seeds.values() if seed.batch == newest}
        return (newest, len(batch)) if joins and product_id not in batch else (newest + 1, 0)

    def _plain(self, product_id: str) -> Product | None:
        seed = self._seeds.get(product_id)
        return seed.product if seed else self._own.get(product_id)

    def _save(self, seed: Seed) -> None:
        if seed.product.product_id not in self._seeds and len(self._seeds) >= self._most_seeds:
            raise FixtureError(f"This sandbox has {self._most_seeds:,} seeded products, and takes no more.")
        if len(msgspec.json.encode(seed)) > _MOST_BYTES:
            raise FixtureError(f"params.fixture must make a product of at most {_MOST_BYTES:,} bytes.")
        self._simulations.save_seed(seed)
        self._seeds = self._seeds | {seed.product.product_id: seed}
        self._arrange()

    def _arrange(self) -> None:
        seeded = [seed.product for seed in sorted(self._seeds.values(), key=lambda seed: (-seed.batch, seed.place))]
        own = [product for product in self._own.values() if product.product_id not in self._seeds]
        self._listed = [*seeded, *own]
        self._by_id = self._own | {product.product_id: _with_default(product) for product in seeded}


def _with_default(product: Product) -> Product:
    """The product, with its newest price also under the id ``default``."""
    if product.pricing_option(_DEFAULT):
        return product
    default = msgspec.structs.replace(product.pricing_options[0], pricing_option_id=_DEFAULT)
    return msgspec.structs.replace(product, pricing_options=(*product.pricing_options, default))
