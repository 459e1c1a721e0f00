"""The seller lists its own event sources in a file; the server reads it at every start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from postback.accounts.store import AccountStore
from postback.errors import StartupError
from postback.event_sources.event_source import EventSource
from postback.event_sources.seller_config import apply_seller_config
from postback.event_sources.store import SourceRegistry
from postback.event_sources.tag_settings import TagSettings
from postback.store.control_store import ControlStore

TILLS = """
[[event_sources]]
account_id = "default"
event_source_id = "tills"
name = "Tills of our stores"
event_types = ["purchase", "refund"]
value_currencies = ["EUR"]
action_source = "in_store"
allowed_domains = ["Shop.example"]
max_event_age_days = 30
"""


class Seller:
    """Starts again and again with the configuration it is given."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "seller.toml"
        self.control = ControlStore(f"sqlite:///{folder}/control.db")
        self.control.migrate()
        self.accounts = AccountStore(self.control)
        self.accounts.create("default")
        self.registry = SourceRegistry(self.control)

    def start(self, toml: str | None) -> list[EventSource]:
        if toml is not None:
            self.path.write_text(toml)
        apply_seller_config(None if toml is None else self.path, self.accounts, self.registry)
        return self.registry.list("default")


@pytest.fixture
def seller(tmp_path: Path) -> Iterator[Seller]:
    seller = Seller(tmp_path)
    yield seller
    seller.control.close()


def test_a_listed_source_is_there_after_the_start(seller: Seller) -> None:
    [tills] = seller.start(TILLS)
    assert tills == EventSource(
        account_id="default",
        event_source_id="tills",
        seller_id=tills.seller_id,
        managed_by="seller",
        name="Tills of our stores",
        event_types=("purchase", "refund"),
        value_currencies=("EUR",),
        action_source="in_store",
        allowed_domains=("shop.example",),
        max_event_age_days=30,
    )


def test_our_id_stays_when_the_declaration_changes(seller: Seller) -> None:
    [before] = seller.start(TILLS)
    [after] = seller.start(TILLS.replace("Tills of", "All tills of"))
    assert (after.name, after.seller_id) == ("All tills of our stores", before.seller_id)


def test_the_tag_of_a_source_has_the_settings_of_the_file(seller: Seller) -> None:
    [source] = seller.start(TILLS + "tag = { page_view = true }")
    [without] = seller.start(TILLS)

    assert source.tag == TagSettings(page_view=True)
    assert without.tag is None


def test_a_source_that_is_not_listed_any_more_is_archived_and_may_come_back(seller: Seller) -> None:
    [before] = seller.start(TILLS)
    assert seller.start("") == []
    [back] = seller.start(TILLS)
    assert back.restored_at
    assert msgspec.structs.replace(back, restored_at=None) == before
    assert seller.start(TILLS) == [back]
    assert seller.start(None) == []


def test_a_bound_on_age_set_by_hand_survives_a_file_that_is_silent_on_it(seller: Seller) -> None:
    silent = TILLS.replace("max_event_age_days = 30", "")
    seller.start(silent)
    seller.registry.set_max_event_age_days("default", "tills", 365)
    assert [source.max_event_age_days for source in seller.start(silent)] == [365]


def test_a_buyers_source_is_not_taken_over(seller: Seller) -> None:
    mine = EventSource(account_id="default", event_source_id="tills", seller_id="src_1", name="Mine")
    with seller.registry.edit("default") as sources:
        sources.save([mine])
    with pytest.raises(StartupError, match="already has an event source 'tills'"):
        seller.start(TILLS)
    assert seller.registry.list("default") == [mine]


@pytest.mark.parametrize(
    ("toml", "sentence"),
    [
        ("[[event_sources]", "seller.toml is not valid TOML"),
        ("sources = []", "sources is not a known field"),
        ("event_sources = 7", "event_sources must be an array; it is an integer"),
        (TILLS.replace('"default"', '"ghost"'), r"event_sources\[0\]\.account_id names an account that does not exist"),
        (
            TILLS.replace("event_source_id", "id"),
            r"event_sources\[0\]: (id is not a known field|event_source_id is required)",
        ),
        (
            TILLS.replace('"purchase"', '"purchse"'),
            r'event_types\[0\] is not an AdCP event type\. Did you mean "purchase"',
        ),
        (TILLS.replace("= 30", "= 0"), r"event_sources\[0\]: max_event_age_days must be at least 1"),
        (TILLS + "tag = { gpc = 1 }", r"event_sources\[0\]: tag\.gpc"),
        (TILLS + "tag = { colour = 1 }", r"event_sources\[0\]: tag\.colour is not a known field"),
        (TILLS + 'tag = { event_types = ["lead"] }', r"tag\.event_types\[0\] is not one of the source's event_types"),
        (TILLS + TILLS, r"event_sources\[1\] has the event_source_id of an earlier one"),
    ],
)
def test_a_file_that_cannot_be_used_is_explained(seller: Seller, toml: str, sentence: str) -> None:
    with pytest.raises(StartupError, match=sentence):
        seller.start(toml)
    assert seller.registry.list("default") == []


def test_a_file_that_is_not_there_is_explained(seller: Seller) -> None:
    with pytest.raises(StartupError, match="can't be read: No such file"):
        apply_seller_config(seller.path, seller.accounts, seller.registry)
