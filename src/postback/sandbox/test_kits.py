"""The callers of AdCP's test kits: a sandbox takes every key that begins as theirs do."""

from __future__ import annotations

from postback.accounts.store import AccountStore
from postback.auth import KeyStore

__all__ = ["admit_test_kits"]

_KEYS = "demo-acme-outdoor-"
_LIVE_KEYS = "demo-acme-outdoor-live-"
_LIVE_ACCOUNT = "acme-outdoor-live"


def admit_test_kits(accounts: AccountStore, keys: KeyStore, secret: bytes, account_id: str) -> None:
    """Let the kits' keys stand for two callers: one of this account, and one that must not reach the test controller.

    The latter acts for an account that is no sandbox, which is how official runners see that the controller asks.

    Args:
        accounts: The accounts.
        keys: The keys.
        secret: The install's, by which nobody knows the callers' real keys.
        account_id: A sandbox account.
    """
    if accounts.get(_LIVE_ACCOUNT) is None:
        accounts.create(_LIVE_ACCOUNT)
    for prefix, acts_for in ((_KEYS, account_id), (_LIVE_KEYS, _LIVE_ACCOUNT)):
        keys.adopt_all(prefix, secret, [acts_for])
