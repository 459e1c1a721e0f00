"""Creative formats by sellers' names, and what AdCP calls the same (core/product-format-declaration.json).

Buyers of AdCP 3.2 see a product only by these declarations.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["format_options"]

_KINDS: Mapping[str, str] = {
    "audio": "audio_hosted",
    "banner": "image",
    "display": "image",
    "html5": "html5",
    "image": "image",
    "native": "native_in_feed",
    "sponsored": "sponsored_placement",
    "tag": "display_tag",
    "video": "video_hosted",
}
_SIZED = frozenset({"image", "html5", "display_tag"})
_TIMED = frozenset({"audio_hosted", "video_hosted"})
_SIZE = re.compile(r"(?:^|_)([1-9]\d{0,4})x([1-9]\d{0,4})(?:_|\Z)")
_SECONDS = re.compile(r"(?:^|_)([1-9]\d{0,3})s(?:_|\Z)")


def format_options(formats: Sequence[str], agent_url: str) -> list[dict[str, Any]]:
    """The declarations of formats whose names tell what they are, as ``display_300x250`` and ``video_30s``.

    Args:
        formats: Identifiers of formats.
        agent_url: Qualifies them.
    """
    return list(_options(formats, agent_url))


def _options(formats: Sequence[str], agent_url: str) -> Iterator[dict[str, Any]]:
    for name in formats:
        kind = _KINDS.get(name.partition("_")[0].lower())
        if kind:
            yield {
                "format_option_id": name,
                "format_kind": kind,
                "params": _params(kind, name),
                "v1_format_ref": [{"agent_url": agent_url, "id": name}],
            }


def _params(kind: str, name: str) -> dict[str, int]:
    if kind in _SIZED and (size := _SIZE.search(name)):
        return {"width": int(size[1]), "height": int(size[2])}
    if kind in _TIMED and (seconds := _SECONDS.search(name)):
        return {"duration_ms_exact": int(seconds[1]) * 1000}
    return {}
