"""Click tokens: the contents of a click link, signed so that nobody can forge one."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from itsdangerous import BadData, URLSafeSerializer

__all__ = ["ClickLink", "ClickLinks"]


class ClickLink(msgspec.Struct, array_like=True, frozen=True):
    """The contents of a token."""

    account_id: str
    media_buy_id: str
    package_id: str
    creative_id: str
    parameter: str
    destination: str


class ClickLinks:
    """Signs and verifies tokens with the installation's secret (32 bytes).

    Args:
        secret: The secret.
        previous: Secrets that it replaced; tokens that were signed with them are still read.
    """

    def __init__(self, secret: bytes, previous: Sequence[bytes] = ()) -> None:
        self._serializer = URLSafeSerializer([*previous, secret], salt="postback.click-link")

    def token(self, link: ClickLink) -> str:
        """A token that only this installation can create."""
        return str(self._serializer.dumps(msgspec.to_builtins(link)))

    def read(self, token: str) -> ClickLink | None:
        """The contents of a token; None if another installation created it."""
        try:
            return msgspec.convert(self._serializer.loads(token), ClickLink)
        except (BadData, msgspec.ValidationError, RecursionError):
            return None
