"""A buyer's agent declares its event sources, looks at what it has, and removes some."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import anyio
import msgspec
import pytest
from jsonschema import Draft7Validator
from tests.rhythms import always, rhythm_of

from postback.accounts.store import AccountStore
from postback.attribution.rules import AccountRules
from postback.auth.principal import Account, Principal
from postback.clock import Clock
from postback.errors import EventSourceNotFound, InvalidRequest, StoreUnavailable
from postback.event_sources.rhythms import SourceKey
from postback.event_sources.seller_config import apply_seller_config
from postback.event_sources.setup_snippets import TagScript
from postback.event_sources.signals import SignalStore
from postback.event_sources.store import SourceRegistry
from postback.forwarding.destination import read_destinations
from postback.forwarding.forwarding import Forwarding
from postback.metrics import Metrics
from postback.protocol.releases import RELEASES
from postback.store.control_store import ControlStore
from postback.store.event_store import SourceActivity
from postback.store.tables import source_watch
from postback.tasks.arguments import Arguments
from postback.tasks.call import TaskCall
from postback.tasks.sync_event_sources import sync_event_sources
from postback.threads import Threads

WEBSITE = {
    "event_source_id": "website",
    "name": "Acme website",
    "event_types": ["purchase", "lead"],
    "value_currencies": ["EUR", "USD"],
    "action_source": "website",
    "allowed_domains": ["acme.example"],
    "surface": {"category": "website", "property_id": "acme.example", "ext": {"team": 7}},
}
TILLS = {"event_source_id": "tills", "name": "Our tills"}


class Buyer:
    """Calls sync_event_sources for one account of a real control store."""

    def __init__(self, folder: Path, account: Account) -> None:
        self.folder = folder
        self.account = account
        self.control = ControlStore(f"sqlite:///{folder}/control.db")
        self.control.migrate()
        self.accounts = AccountStore(self.control)
        self.accounts.create(account.account_id, sandbox=account.sandbox)
        self.sources = SourceRegistry(self.control)
        self.activity: dict[str, SourceActivity] = {}
        self.clock = Clock()
        self.threads = Threads(readers=1)
        self.read_events = lambda account_ids, *work: self.threads.reports.run(*work)
        self.settings = SimpleNamespace(public_url="https://track.seller.example", event_sources=100)
        self.tag_script = TagScript("/tag/v/abc.js", "sha384-abc")
        self.forwarding = Forwarding(
            read_destinations([], "seller.toml", {}),
            self.control,
            b"s" * 32,
            Metrics(),
            self.threads,
            self.clock,
            record=False,
        )
        self.events = SimpleNamespace(
            activity=lambda *_: self.activity, matching=lambda account_id: {}, unnamed_refunds=lambda *_: {}
        )
        self.shards = SimpleNamespace(of=lambda account_id: self.events)
        attribution = SimpleNamespace(rules=lambda account_id: AccountRules.of([]))
        self.attribution = SimpleNamespace(of=lambda account_id: attribution)
        self.signals = SignalStore(self.control)
        self.source_watch = SimpleNamespace(now=lambda account_id: self.clock.utc(), read=lambda *_: {})

    def call(self, release: str | None = "3.2", **arguments: Any) -> dict[str, Any]:
        return self.send(json.dumps(arguments).encode(), release)

    def send(self, arguments: bytes, release: str | None = "3.2") -> dict[str, Any]:
        principal = Principal("key_1", (self.account,))
        call = TaskCall(cast(Any, self), "sync_event_sources", principal, "r1", Arguments(arguments), release, None)
        return cast(dict[str, Any], json.loads(msgspec.json.encode(anyio.run(sync_event_sources, call))))

    def sync(self, *entries: Any, **arguments: Any) -> list[dict[str, Any]]:
        return cast(list[dict[str, Any]], self.call(event_sources=list(entries), **arguments)["event_sources"])

    def actions(self, *entries: Any, **arguments: Any) -> dict[str, str]:
        return {s["event_source_id"]: s["action"] for s in self.sync(*entries, **arguments)}

    def discover(self, **arguments: Any) -> list[dict[str, Any]]:
        return cast(list[dict[str, Any]], self.call(**arguments)["event_sources"])

    def configure(self, toml: str) -> None:
        path = self.folder / "seller.toml"
        path.write_text(toml)
        apply_seller_config(path, self.accounts, self.sources)


@pytest.fixture
def buyer(tmp_path: Path) -> Iterator[Buyer]:
    buyer = Buyer(tmp_path, Account("acme", "Acme"))
    yield buyer
    buyer.control.close()


def test_a_new_source_is_created_and_told_with_our_id(buyer: Buyer) -> None:
    [created] = buyer.sync(WEBSITE)
    assert {name: created[name] for name in WEBSITE} == WEBSITE
    assert (created["action"], created["managed_by"]) == ("created", "buyer")
    assert created["seller_id"].startswith("src_")


def test_the_same_declaration_again_changes_nothing(buyer: Buyer) -> None:
    [created] = buyer.sync(WEBSITE)
    [again] = buyer.sync(WEBSITE)
    assert (again["action"], again["seller_id"]) == ("unchanged", created["seller_id"])


def test_a_declaration_replaces_the_earlier_one_as_a_whole(buyer: Buyer) -> None:
    buyer.sync(WEBSITE)
    [updated] = buyer.sync({"event_source_id": "website", "event_types": ["refund"]})
    assert updated["action"] == "updated"
    assert updated["event_types"] == ["refund"]
    assert not {"name", "value_currencies", "allowed_domains", "surface"} & set(updated)


def test_the_sellers_own_bound_on_age_survives_the_buyers_update(buyer: Buyer) -> None:
    buyer.sync(WEBSITE)
    buyer.sources.set_max_event_age_days("acme", "website", 365)
    buyer.sync({"event_source_id": "website"})
    assert [source.max_event_age_days for source in buyer.sources.list("acme")] == [365]


def test_a_call_without_sources_lists_them_and_writes_nothing(buyer: Buyer) -> None:
    buyer.sync(WEBSITE, TILLS)
    listed = buyer.discover(delete_missing=True)
    assert [(s["event_source_id"], s["action"]) for s in listed] == [("tills", "unchanged"), ("website", "unchanged")]
    assert len(buyer.discover()) == 2


def test_synced_sources_come_first_in_the_order_of_the_request(buyer: Buyer) -> None:
    buyer.sync({"event_source_id": "app"}, {"event_source_id": "zoo"})
    assert buyer.actions(WEBSITE, TILLS) == {
        "website": "created",
        "tills": "created",
        "app": "unchanged",
        "zoo": "unchanged",
    }


def test_missing_sources_stay_unless_deletion_is_asked_for(buyer: Buyer) -> None:
    buyer.sync(WEBSITE, TILLS)
    assert buyer.actions(TILLS) == {"tills": "unchanged", "website": "unchanged"}
    assert buyer.actions(TILLS, delete_missing=True) == {"tills": "unchanged", "website": "deleted"}
    assert [s["event_source_id"] for s in buyer.discover()] == ["tills"]


def test_a_deleted_source_takes_no_more_events(buyer: Buyer) -> None:
    buyer.sync(WEBSITE, TILLS)
    principal = Principal("key_1", (buyer.account,))
    assert buyer.sources.resolve(principal, "website", None).name == "Acme website"
    buyer.sync(TILLS, delete_missing=True)
    with pytest.raises(EventSourceNotFound):
        buyer.sources.resolve(principal, "website", None)


def test_a_deleted_source_that_comes_back_keeps_our_id(buyer: Buyer) -> None:
    [created] = buyer.sync(WEBSITE)
    buyer.sync(TILLS, delete_missing=True)
    revived = buyer.sync(WEBSITE)[0]
    assert (revived["action"], revived["seller_id"]) == ("created", created["seller_id"])


def test_the_time_in_which_a_source_was_deleted_is_no_silence_of_the_one_that_comes_back(buyer: Buyer) -> None:
    now = buyer.clock.utc()
    rhythm = rhythm_of(always(), now, silent=timedelta(days=2))
    buyer.source_watch.read = lambda *_: {SourceKey("acme", "website"): rhythm}
    buyer.signals.watched(now)
    with buyer.control.begin() as connection:
        connection.execute(source_watch.update().values(since=int((now - timedelta(days=9)).timestamp())))
    states = []
    for entry in (WEBSITE, TILLS, WEBSITE, WEBSITE):
        [source] = [
            s for s in buyer.sync(entry, delete_missing=True) if s["event_source_id"] == entry["event_source_id"]
        ]
        if entry == WEBSITE:
            states.append(source["health"]["ext"]["postback"]["volume"]["state"])

    assert states == ["offline", "flowing", "flowing"]


def test_a_bad_entry_fails_and_the_rest_proceeds(buyer: Buyer) -> None:
    failed, created = buyer.sync({"event_source_id": "bad", "event_types": ["purchase", "purchse"]}, TILLS)
    assert (failed["action"], created["action"]) == ("failed", "created")
    [error] = failed["errors"]
    assert error["code"] == "INVALID_REQUEST"
    assert error["field"] == "event_sources[0].event_types[1]"
    assert error["suggestion"] == 'Did you mean "purchase"?'
    assert error["recovery"] == "correctable"


def test_a_bad_entry_leaves_the_source_as_it_was(buyer: Buyer) -> None:
    buyer.sync(WEBSITE)
    assert buyer.actions(WEBSITE | {"name": 7}, delete_missing=True) == {"website": "failed"}
    assert buyer.discover()[0]["name"] == "Acme website"


def test_everything_wrong_with_an_entry_is_told_at_once(buyer: Buyer) -> None:
    [failed] = buyer.sync(
        WEBSITE
        | {"value_currencies": ["usd", "XYZ"], "allowed_domains": ["https://acme.example/"], "action_source": "web"}
    )
    assert [error["field"] for error in failed["errors"]] == [
        "event_sources[0].value_currencies[0]",
        "event_sources[0].value_currencies[1]",
        "event_sources[0].allowed_domains[0]",
        "event_sources[0].action_source",
    ]
    assert failed["errors"][0]["suggestion"] == 'Did you mean "USD"?'


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"event_source_id": None}, ".event_source_id"),
        ({"event_source_id": ""}, ".event_source_id"),
        ({"event_source_id": "i" * 257}, ".event_source_id"),
        ({"event_source_id": "a\x00b"}, ".event_source_id"),
        ({"name": ["Acme"]}, ".name"),
        ({"name": "Acme\x00"}, ".name"),
        ({"event_types": []}, ".event_types"),
        ({"event_types": "purchase"}, ".event_types"),
        ({"event_types": [1]}, ".event_types[0]"),
        ({"value_currencies": []}, ".value_currencies"),
        ({"allowed_domains": ["*.acme.example"]}, ".allowed_domains[0]"),
        ({"allowed_domains": ["acme.example:8443"]}, ".allowed_domains[0]"),
        ({"allowed_domains": ["first.buyer@acme.example"]}, ".allowed_domains[0]"),
        ({"surface": "website"}, ".surface"),
        ({"surface": {}}, ".surface.category"),
        ({"surface": {"category": "shop"}}, ".surface.category"),
        ({"surface": {"category": "website", "namespace": ""}}, ".surface.namespace"),
        ({"surface": {"category": "website", "deep": json.loads("[" * 200 + "]" * 200)}}, ""),
        ({"surface": {"category": "website", "large": "x" * 70_000}}, ""),
    ],
)
def test_a_wrong_member_is_named_and_its_value_never_repeated(
    buyer: Buyer, members: dict[str, Any], field: str
) -> None:
    [failed] = buyer.sync(WEBSITE | members)
    assert [error["field"] for error in failed["errors"]] == [f"event_sources[0]{field}"]
    assert "first.buyer" not in str(failed)


@pytest.mark.parametrize("entry", [7, None, [], {}, {"name": "no id"}])
def test_an_entry_without_an_id_is_told_by_its_place(buyer: Buyer, entry: Any) -> None:
    assert buyer.actions(TILLS, entry) == {"tills": "created", "index:1": "failed"}


def test_nothing_is_deleted_while_an_id_cannot_be_read(buyer: Buyer) -> None:
    buyer.sync(WEBSITE, TILLS)
    actions = buyer.actions(TILLS, {"event_source_id": 7}, delete_missing=True)
    assert actions == {"tills": "unchanged", "index:1": "failed", "website": "unchanged"}


@pytest.mark.parametrize(
    "entry",
    [
        b'{"event_source_id": "a", "event_source_id": "b"}',
        b'{"event_source_id": "a", "surface": {"category": "app", "n": 1e400}}',
    ],
)
def test_an_ambiguous_or_impossible_entry_fails_alone(buyer: Buyer, entry: bytes) -> None:
    answer = buyer.send(b'{"event_sources": [%s, {"event_source_id": "tills"}]}' % entry)
    assert [s["action"] for s in answer["event_sources"]] == ["failed", "created"]


def test_the_second_entry_with_the_same_id_fails(buyer: Buyer) -> None:
    first, second = buyer.sync(TILLS, TILLS | {"name": "Other tills"})
    assert (first["action"], first["name"], second["action"]) == ("created", "Our tills", "failed")
    assert second["errors"][0]["field"] == "event_sources[1].event_source_id"


def test_a_seller_id_is_not_taken_as_a_new_id(buyer: Buyer) -> None:
    [created] = buyer.sync(TILLS)
    assert buyer.actions({"event_source_id": created["seller_id"]})[created["seller_id"]] == "failed"


def test_hosts_and_lists_are_kept_in_their_plain_form(buyer: Buyer) -> None:
    [created] = buyer.sync(
        WEBSITE
        | {"allowed_domains": ["ACME.example.", "acme.example", "bücher.example"], "event_types": ["lead", "lead"]}
    )
    assert created["allowed_domains"] == ["acme.example", "xn--bcher-kva.example"]
    assert created["event_types"] == ["lead"]


@pytest.mark.parametrize("entries", [[], [TILLS] * 1001])
def test_no_entry_or_too_many_is_refused_as_a_whole(buyer: Buyer, entries: list[object]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        buyer.sync(*entries)
    assert refused.value.field == "event_sources"


def test_an_account_has_no_more_sources_than_it_may_have_however_many_it_deletes(buyer: Buyer) -> None:
    buyer.settings.event_sources = 2
    buyer.sync(WEBSITE)
    assert buyer.actions(TILLS, {"event_source_id": "third"}, delete_missing=True) == {
        "tills": "created",
        "third": "failed",
        "website": "deleted",
    }
    [failed, *_] = buyer.sync({"event_source_id": "third"})
    assert failed["errors"][0]["field"] == "event_sources[0].event_source_id"
    assert buyer.actions(WEBSITE) == {"website": "created", "tills": "unchanged"}


def test_the_sellers_sources_are_listed_and_left_alone(buyer: Buyer) -> None:
    buyer.configure('[[event_sources]]\naccount_id = "acme"\nevent_source_id = "sales"\n')
    synced = buyer.sync(TILLS, {"event_source_id": "sales", "name": "Mine"}, delete_missing=True)
    assert [(s["event_source_id"], s["action"]) for s in synced] == [("tills", "created"), ("sales", "failed")]
    assert buyer.actions(TILLS, delete_missing=True) == {"tills": "unchanged", "sales": "unchanged"}
    assert [s["managed_by"] for s in buyer.discover()] == ["seller", "buyer"]


def test_an_older_release_is_answered_in_its_own_words(buyer: Buyer) -> None:
    buyer.sync({"event_source_id": "channel", "event_types": ["follow", "purchase"]}, release="3.2")
    assert buyer.discover(release="3.0")[0]["event_types"] == ["purchase"]
    assert buyer.actions({"event_source_id": "new", "event_types": ["follow"]}, release="3.0")["new"] == "failed"


def test_nothing_changes_when_the_event_store_is_away(buyer: Buyer) -> None:
    def away(*_: object) -> None:
        raise StoreUnavailable("The event store is unavailable.")

    buyer.events.activity, remembered = away, buyer.events.activity
    with pytest.raises(StoreUnavailable):
        buyer.sync(WEBSITE)
    buyer.events.activity = remembered
    assert buyer.discover() == []


def test_a_sandbox_account_is_told_so(tmp_path: Path) -> None:
    buyer = Buyer(tmp_path, Account("play", "Play", sandbox=True))
    assert buyer.call()["sandbox"] is True
    buyer.control.close()


@pytest.mark.parametrize("release", RELEASES)
def test_every_answer_follows_the_official_schema(buyer: Buyer, release: str) -> None:
    schemas = files("adcp") / "_schemas" / release / "bundled" / "media-buy" / "sync-event-sources-response.json"
    validator = Draft7Validator(json.loads(schemas.read_text("utf-8")), format_checker=Draft7Validator.FORMAT_CHECKER)
    buyer.configure('[[event_sources]]\naccount_id = "acme"\nevent_source_id = "sales"\nname = "Sales"\n')
    buyer.sync(WEBSITE | {"event_source_id": "old"})
    now = datetime.now(UTC)
    buyer.activity["website"] = SourceActivity(
        events_received_24h=100, rejected_24h=3, last_event_at=now, mean_quality_24h=0.31
    )
    answer = buyer.call(release, event_sources=[WEBSITE, TILLS, TILLS, {"name": "no id"}])
    deleted = buyer.call(release, event_sources=[TILLS], delete_missing=True)
    for body in (answer, deleted, buyer.call(release)):
        assert list(validator.iter_errors({"status": "completed", **body})) == []


def _tag(**settings: Any) -> dict[str, Any]:
    return {"postback": {"tag": settings}}


def test_the_settings_of_the_tag_are_shown_and_stay_for_callers_that_do_not_know_them(buyer: Buyer) -> None:
    [created] = buyer.sync(WEBSITE | {"ext": _tag(consent_required=True)})
    [again] = buyer.sync(WEBSITE)
    [other] = buyer.sync(WEBSITE | {"ext": {"someone": {"else": 1}}})
    [reset] = buyer.sync(WEBSITE | {"ext": _tag()})

    assert created["ext"]["postback"]["tag"]["consent_required"] is True
    assert [again["action"], other["action"], reset["action"]] == ["unchanged", "unchanged", "updated"]
    assert again["ext"] == created["ext"]
    assert reset["ext"]["postback"]["tag"] == {
        "enabled": True,
        "event_types": None,
        "page_view": False,
        "gpc": "drop",
        "consent_required": False,
        "snippet_type": "javascript",
    }
    assert buyer.discover()[0]["ext"] == reset["ext"]


@pytest.mark.parametrize(
    ("ext", "field"),
    [
        (_tag(gpc="ignore"), "ext.postback.tag.gpc"),
        (_tag(consent="required"), "ext.postback.tag.consent"),
        (_tag(page_view=1), "ext.postback.tag.page_view"),
        (_tag(event_types=[]), "ext.postback.tag.event_types"),
        (_tag(event_types=["refund"]), "ext.postback.tag.event_types[0]"),
        (_tag(event_types=["purchase", "search"]), "ext.postback.tag.event_types[1]"),
        (_tag(event_types=["buy"]), "ext.postback.tag.event_types[0]"),
        ({"postback": {"tags": {}}}, "ext.postback.tags"),
        ({"postback": 7}, "ext.postback"),
        (7, "ext"),
    ],
    ids=str,
)
def test_a_setting_of_the_tag_that_is_wrong_or_unknown_fails_its_entry(buyer: Buyer, ext: Any, field: str) -> None:
    [failed] = buyer.sync(WEBSITE | {"ext": ext})

    assert failed["action"] == "failed"
    assert [error["field"] for error in failed["errors"]] == [f"event_sources[0].{field}"]
