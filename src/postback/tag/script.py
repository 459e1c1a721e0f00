"""The script of the browser tag, as pages load it.

``tag.js`` is its source, and ``tag.min.js``, which ``make tag`` writes, is served. Pages name a script by the digest of
its contents, so one that a release has served stays in ``earlier/`` as long as pages may load it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib import resources

from postback.event_sources.setup_snippets import TagScript

__all__ = ["CURRENT", "SCRIPT", "SCRIPTS"]

_FILES = resources.files("postback.tag")


def _digest(script: bytes) -> str:
    """The name of a script in its path."""
    return hashlib.sha256(script).hexdigest()[:32]


CURRENT = (_FILES / "tag.min.js").read_bytes()
"""The script of this release."""

SCRIPTS: Mapping[str, bytes] = {
    _digest(script): script
    for script in (
        CURRENT,
        *(file.read_bytes() for folder in [_FILES / "earlier"] if folder.is_dir() for file in folder.iterdir()),
    )
}
"""Each script that pages may name, by its digest."""

SCRIPT = TagScript(
    f"/tag/v/{_digest(CURRENT)}.js",
    f"sha384-{base64.b64encode(hashlib.sha384(CURRENT).digest()).decode()}",
)
