"""AdCP's own JSON schemas, as its Python SDK carries them, and what a call looks like in each dialect."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

from jsonschema import Draft7Validator, Draft202012Validator, FormatChecker, ValidationError
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

from postback.tasks.registry import TASKS

__all__ = [
    "DIALECTS",
    "RELEASES",
    "enumeration",
    "error_codes",
    "pinned",
    "refuse_unless_valid",
    "schema_errors",
    "unique_key",
]

RELEASES = ("3.0", "3.1", "3.2")
DIALECTS = (None, *RELEASES)
"""What a call may be written in: None pins no release, as on the page that the task was first described on."""

_FOLDERS = {
    "log_event": "media-buy",
    "sync_event_sources": "media-buy",
    "get_adcp_capabilities": "protocol",
    "list_accounts": "account",
    "sync_accounts": "account",
    "comply_test_controller": "compliance",
    "update_media_buy": "media-buy",
    "get_products": "media-buy",
    "create_media_buy": "media-buy",
    "get_media_buys": "media-buy",
    "get_media_buy_delivery": "media-buy",
}
_SDK = find_spec("adcp")
assert _SDK
assert _SDK.origin
_SCHEMAS = Path(_SDK.origin).parent / "_schemas"  # not by importing the SDK, which takes 15 s
_FORMATS = FormatChecker()


@_FORMATS.checks("date-time")
def _is_rfc3339(value: object) -> bool:
    time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"
    return not isinstance(value, str) or re.fullmatch(time, value) is not None


def pinned(release: str | None) -> dict[str, str]:
    """The members by which a call that changes something pins a release; a fresh call each time."""
    return {"adcp_version": release, "idempotency_key": unique_key()} if release else {}


def unique_key() -> str:
    """A fresh idempotency key."""
    return str(uuid4())


def refuse_unless_valid(task: str, answer: dict[str, Any], release: str | None) -> None:
    """Fail unless an answer is what the official schemas say, and ours, and claims the release.

    Each error code has its own recovery. An answer that claims none must be what every release says, for its reader may
    know any of them; but capabilities list words that only the newest one knows, and claim it.
    """
    if task == "get_adcp_capabilities" and answer["status"] == "completed":
        release = release or RELEASES[-1]
    assert answer.get("adcp_version") == release, answer
    Draft202012Validator(TASKS[task].output_schema).validate(answer)
    for claimed in (release,) if release else RELEASES:
        found = list(_problems(task, answer, claimed))
        assert not found, f"{task}, AdCP {claimed}: {found} in {json.dumps(answer, indent=1)}"
        for error in answer.get("errors", ()):
            if error["code"] == "IDEMPOTENCY_CONFLICT":
                continue  # which has no more than a code and a message
            assert error["recovery"] == error_codes(claimed).get(error["code"], error["recovery"]), error


def enumeration(release: str, name: str) -> set[str]:
    """The values of an enumeration of a release, for example ``event-type``."""
    return set(json.loads((_SCHEMAS / release / "enums" / f"{name}.json").read_text())["enum"])


def schema_errors(release: str, path: str, value: Any) -> list[str]:
    """What an official schema finds wrong with a value."""
    return [_deepest(error) for error in _validator(release, path).iter_errors(value)]


@cache
def error_codes(release: str) -> dict[str, str]:
    """The standard error codes of a release, and how a program recovers from each."""
    codes = json.loads((_SCHEMAS / release / "enums" / "error-code.json").read_text())
    return {code: codes["enumMetadata"][code]["recovery"] for code in codes["enum"]}


def _problems(task: str, answer: dict[str, Any], release: str) -> Iterator[str]:
    for error in _validator(release, f"{_FOLDERS[task]}/{task.replace('_', '-')}-response.json").iter_errors(answer):
        yield _deepest(error)


def _deepest(error: ValidationError) -> str:
    while error.context:
        error = max(error.context, key=lambda inner: len(inner.absolute_path))
    return f"{error.json_path}: {error.message[:200]}"


@cache
def _validator(release: str, path: str) -> Draft7Validator:
    bundled = _SCHEMAS / release / "bundled" / path
    if bundled.is_file():
        return Draft7Validator(json.loads(bundled.read_text()), format_checker=_FORMATS)
    schema = {"$id": f"https://local/schemas/{release}/{path}"} | json.loads((_SCHEMAS / release / path).read_text())

    def retrieve(uri: str) -> Resource[Any]:
        path = re.sub(r".*/schemas/[^/]+/", "", uri)
        return Resource.from_contents(json.loads((_SCHEMAS / release / path).read_text()), DRAFT7)

    registry: Registry[Any] = Registry(retrieve=retrieve)  # type: ignore[call-arg]  # attrs hides the alias
    return Draft7Validator(schema, format_checker=_FORMATS, registry=registry)
