"""Creative formats: identifiers (core/format-id.json) and declarations (core/product-format-declaration.json).

Buyers with AdCP 3.2 use only the declarations, earlier ones only the identifiers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

__all__ = ["FormatId", "FormatKind", "FormatName", "FormatOption", "canonical_url", "format_options"]

FormatName = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]+\Z")]

FormatKind = Literal[
    "image",
    "html5",
    "display_tag",
    "image_carousel",
    "video_hosted",
    "video_vast",
    "audio_hosted",
    "audio_vast",
    "audio_daast",
    "sponsored_placement",
    "native_in_feed",
    "responsive_creative",
    "agent_placement",
    "seller_rendered_stateful_display",
    "coordinated_placements",
]
"""The kinds that AdCP itself describes. A custom kind would need a schema, which Postback could not validate."""


class FormatId(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A format of a creative agent."""

    agent_url: Annotated[
        str, Meta(pattern=r"^https?://[^/?#\s]\S*\Z", description="URL of the agent that defines the format.")
    ]
    id: Annotated[FormatName, Meta(description="Name of the format at that agent.")]


class FormatOption(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A format that a product accepts; the schema of ``params`` depends on the kind (formats/canonical/*.json)."""

    format_kind: Annotated[FormatKind, Meta(description="Its kind.")]
    params: Annotated[dict[str, Any], Meta(description="Its dimensions, durations and so on.")]
    format_option_id: (
        Annotated[
            str,
            Meta(pattern=r"\S", description="Its name in the product; without one it is the only one of its kind."),
        ]
        | None
    ) = None
    display_name: Annotated[str, Meta(description="Display name.")] | None = None
    canonical_formats_only: Annotated[bool, Meta(description="Whether no identifier is equivalent.")] = False
    experimental: Annotated[bool, Meta(description="Whether it may not work as declared.")] = False
    v1_format_ref: Annotated[tuple[FormatId, ...], Meta(description="The equivalent identifiers.")] = ()

    def __post_init__(self) -> None:
        """Refuse what AdCP's schema refuses."""
        if self.canonical_formats_only and self.v1_format_ref:
            raise ValueError("canonical_formats_only and v1_format_ref exclude each other; remove one")


_KINDS: Mapping[str, FormatKind] = {
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
_DEFAULT_PORTS = {"http": 80, "https": 443}


def format_options(formats: Sequence[FormatId]) -> tuple[FormatOption, ...]:
    """The declarations of formats with descriptive names, for example ``display_300x250`` and ``video_30s``."""
    return tuple(_options(formats))


def canonical_url(url: str) -> str:
    """A creative agent's URL in the form for comparison."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return url
    host = (parts.hostname or "") + (f":{port}" if port not in (None, _DEFAULT_PORTS.get(parts.scheme)) else "")
    return parts._replace(netloc=host, path=parts.path.rstrip("/"), fragment="").geturl()


def _options(formats: Sequence[FormatId]) -> Iterator[FormatOption]:
    for name in dict.fromkeys(format_id.id for format_id in formats):
        kind = _KINDS.get(name.partition("_")[0].lower())
        if kind:
            yield FormatOption(
                format_option_id=name,
                format_kind=kind,
                params=_params(kind, name),
                v1_format_ref=tuple(format_id for format_id in formats if format_id.id == name),
            )


def _params(kind: str, name: str) -> dict[str, int]:
    if kind in _SIZED and (size := _SIZE.search(name)):
        return {"width": int(size[1]), "height": int(size[2])}
    if kind in _TIMED and (seconds := _SECONDS.search(name)):
        return {"duration_ms_exact": int(seconds[1]) * 1000}
    return {}
