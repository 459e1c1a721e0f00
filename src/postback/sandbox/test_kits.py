"""The callers of AdCP's test kits: a sandbox accepts every key with their prefix."""

from __future__ import annotations

from postback.accounts.store import AccountStore
from postback.auth.api_keys import KeyStore

__all__ = ["admit_test_kits"]

_KEYS = "demo-acme-outdoor-"
_LIVE_KEYS = "demo-acme-outdoor-live-"
_LIVE_ACCOUNT = "acme-outdoor-live"


def admit_test_kits(accounts: AccountStore, keys: KeyStore, secret: bytes, account_id: str) -> None:
    """Adopt the kits' keys for two callers: one with this account, and one that the test controller must refuse.

    The latter acts for a live account, with which official runners check that the controller asks for a sandbox.

    Args:
        accounts: The accounts.
        keys: The keys.
        secret: The installation's secret, from which the stored keys are derived.
        account_id: A sandbox account.
    """
    if accounts.get(_LIVE_ACCOUNT) is None:
        accounts.create(_LIVE_ACCOUNT)
    for prefix, acts_for in ((_KEYS, account_id), (_LIVE_KEYS, _LIVE_ACCOUNT)):
        keys.adopt_prefix(prefix, secret, [acts_for])
