"""The page of the keys, where the operator makes and revokes them; a buyer sees its own."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from starlette.datastructures import ImmutableMultiDict

from postback.auth.principal import SCOPES
from postback.console.page import Action, Once, Page, Visit
from postback.console.server import SERVER
from postback.errors import InvalidRequest

__all__ = ["PAGES"]

_PATH = f"{SERVER}/keys"
_CONSOLE = "console"
_MOST = 500


class ShownKey(msgspec.Struct, frozen=True):
    """A key, without the key itself.

    Attributes:
        key_id: Public identifier.
        name: Who it is for.
        scope: What it may be used for: ``buyer``, ``seller`` or ``both``; ``console`` for a console key.
        accounts: The account_ids that it acts for; all of them for a console key, for which none is listed.
        created_at: When it was made.
        revoked_at: When it was revoked, or None.
        yours: Whether the visitor signed in with it.
    """

    key_id: str
    name: str
    scope: str
    accounts: tuple[str, ...]
    created_at: datetime
    revoked_at: datetime | None
    yours: bool


class ShownKeys(msgspec.Struct, frozen=True):
    """What the page shows.

    Attributes:
        keys: At most 500, the newest first.
        total: How many there are.
        scopes: What a new key may be used for.
    """

    keys: tuple[ShownKey, ...]
    total: int
    scopes: tuple[str, ...]


class NewKey(msgspec.Struct, frozen=True):
    """A key that was made, which is shown only now."""

    key_id: str
    key: str
    scope: str
    accounts: tuple[str, ...]


async def _keys(visit: Visit) -> ShownKeys:
    found = await visit.services.threads.control.run(_read, visit)
    return ShownKeys(tuple(found[:_MOST]), len(found), (*SCOPES, _CONSOLE) if visit.seller else ())


def _read(visit: Visit) -> list[ShownKey]:
    services, own = visit.services, visit.principal.key_id
    api_keys = [
        ShownKey(
            *(key.key_id, key.name, key.scope, key.account_ids, _time(key.created_at)),
            _time(key.revoked_at) if key.revoked_at is not None else None,
            key.key_id == own,
        )
        for key in services.keys.list()
        if (visit.account_id is None or visit.account_id in key.account_ids) and (visit.seller or key.key_id == own)
    ]
    console_keys = [
        ShownKey(
            *(key.key_id, key.name, _CONSOLE, (), _time(key.created_at)),
            _time(key.revoked_at) if key.revoked_at is not None else None,
            key.key_id == own,
        )
        for key in (services.console_keys.list() if visit.seller and visit.account_id is None else ())
    ]
    return sorted([*api_keys, *console_keys], key=lambda key: (key.revoked_at is None, key.created_at), reverse=True)


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


async def _create(visit: Visit, form: ImmutableMultiDict[str, str]) -> Once:
    scope, name, account_ids = form.get("scope", ""), form.get("name", ""), form.getlist("account_id")
    run, services = visit.services.threads.control.run, visit.services
    if scope == _CONSOLE:
        key_id, key = await run(services.console_keys.create, name)
        account_ids = []
    elif scope in SCOPES:
        key_id, key = await run(services.keys.create, account_ids, name, scope)
    else:
        raise InvalidRequest(f"scope must be one of {', '.join((*SCOPES, _CONSOLE))}.", field="scope")
    return Once("New key", "new_key.html", SERVER, NewKey(key_id, key, scope, tuple(account_ids)))


async def _revoke(visit: Visit, form: ImmutableMultiDict[str, str]) -> str:
    services, key_id = visit.services, form.get("key_id", "")
    known = {key.key_id for key in await services.threads.control.run(services.console_keys.list)}
    store = services.console_keys if key_id in known else services.keys
    await services.threads.control.run(store.revoke, key_id)
    return _PATH


PAGES = (
    Page(_PATH, "Keys", "keys.html", _keys, below=SERVER),
    Action(f"{_PATH}/create", _create),
    Action(f"{_PATH}/revoke", _revoke),
)
