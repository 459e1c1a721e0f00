"""Click tokens: the contents of a click link, signed so that nobody can forge one."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from itsdangerous import BadData, URLSafeSerializer
from itsdangerous.encoding import base64_decode, base64_encode

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
        """The contents of a token; None if this installation didn't create it, spelt exactly so."""
        try:
            link = msgspec.convert(self._serializer.loads(token), ClickLink)
        except (BadData, msgspec.ValidationError, RecursionError):
            return None
        return link if _is_spelt_as_made(token) else None


def _is_spelt_as_made(token: str) -> bool:
    """Whether the signature of a valid token is spelt as this server spells it.

    What precedes the signature is signed as it is spelt. But base64 is decoded leniently, so a signature has any number
    of spellings, and each would look like another link.
    """
    signature = token.rpartition(".")[2]
    return base64_encode(base64_decode(signature)).decode() == signature
