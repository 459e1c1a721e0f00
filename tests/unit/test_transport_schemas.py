"""What MCP and OpenAPI show of the tasks agrees with the tasks, and with the official schemas."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from postback.tasks.registry import SELLER_TASKS, TASKS
from postback.tasks.task import Task

_OFFICIAL = {
    "get_adcp_capabilities": "protocol/get-adcp-capabilities-request.json",
    "list_accounts": "account/list-accounts-request.json",
    "sync_accounts": "account/sync-accounts-request.json",
    "update_media_buy": "media-buy/update-media-buy-request.json",
    "comply_test_controller": "compliance/comply-test-controller-request.json",
    "sync_event_sources": "media-buy/sync-event-sources-request.json",
    "log_event": "media-buy/log-event-request.json",
    "get_products": "media-buy/get-products-request.json",
    "create_media_buy": "media-buy/create-media-buy-request.json",
    "get_media_buys": "media-buy/get-media-buys-request.json",
    "get_media_buy_delivery": "media-buy/get-media-buy-delivery-request.json",
}


def _official(task: str) -> dict[str, Any]:
    newest = files("adcp").joinpath("_schemas", "3.2")
    bundled = newest.joinpath("bundled", _OFFICIAL[task])
    text = (bundled if bundled.is_file() else newest.joinpath(_OFFICIAL[task])).read_text()
    schema: dict[str, Any] = json.loads(text)
    return schema


_EVERY_TASK = pytest.mark.parametrize("task", [*TASKS.values(), *SELLER_TASKS.values()], ids=lambda task: task.name)


@_EVERY_TASK
def test_a_schema_is_a_schema_without_references(task: Task) -> None:
    for schema in (task.input_schema, task.output_schema):
        Draft202012Validator.check_schema(schema)
        assert "$ref" not in json.dumps(schema)
        assert schema["type"] == "object"


@_EVERY_TASK
def test_every_field_is_described(task: Task) -> None:
    for schema in (task.input_schema, task.output_schema):
        assert list(_undescribed(schema)) == []


def _undescribed(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    for name, field in schema.get("properties", {}).items():
        if "description" not in field:
            yield f"{path}.{name}"
        yield from _undescribed(field, f"{path}.{name}")
    items = [schema["items"]] if "items" in schema else []
    for inner in (*items, *schema.get("anyOf", ())):
        yield from _undescribed(inner, path)


@_EVERY_TASK
def test_the_example_is_what_the_schema_asks_for(task: Task) -> None:
    Draft202012Validator(task.input_schema).validate(task.example)


def test_the_example_of_log_event_is_valid_for_the_official_schema() -> None:
    Draft7Validator(_official("log_event")).validate(TASKS["log_event"].example)


@pytest.mark.parametrize("task", TASKS)
def test_every_member_but_the_account_is_one_that_the_official_schema_has(task: str) -> None:
    envelope = {"adcp_version", "context", "ext", "account"}

    assert TASKS[task].input_schema["properties"].keys() - envelope <= _official(task)["properties"].keys()
