"""The console's stylesheet, its scripts and its icon, which are read once and may be cached for good."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from postback.errors import NotFound

__all__ = ["StaticFiles"]

_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_CACHED = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}


class StaticFiles:
    """The files below ``static/``, each at an address that changes with its contents."""

    def __init__(self) -> None:
        self._files = dict(_read(files("postback.console") / "static", ""))

    def routes(self) -> list[Route]:
        """Where they are."""
        return [Route("/console/static/{name:path}", self._serve, methods=["GET"])]

    def url(self, name: str) -> str:
        """The address of a file, for example of ``console.css``."""
        return f"/console/static/{name}?v={hashlib.sha256(self._files[name]).hexdigest()[:16]}"

    def integrity(self, name: str) -> str:
        """The digest of a file that a page demands of it (Subresource Integrity)."""
        return f"sha384-{b64encode(hashlib.sha384(self._files[name]).digest()).decode()}"

    async def _serve(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._files:
            raise NotFound("There is no such file.")
        return Response(self._files[name], headers=_CACHED, media_type=_TYPES[f".{name.rpartition('.')[2]}"])


def _read(folder: Traversable, prefix: str) -> list[tuple[str, bytes]]:
    found = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _read(entry, f"{prefix}{entry.name}/")
        elif f".{entry.name.rpartition('.')[2]}" in _TYPES:
            found.append((prefix + entry.name, entry.read_bytes()))
    return found
