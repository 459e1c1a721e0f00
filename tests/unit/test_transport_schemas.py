"""What MCP and OpenAPI show of the tasks agrees with the tasks, and with the official schemas."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from postback.tasks import TASKS
from postback.transports.schemas import EVENT_VERDICT, FAILURE, TASK_SCHEMAS

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


def test_every_task_is_described() -> None:
    assert TASK_SCHEMAS.keys() == TASKS.keys()


@pytest.mark.parametrize("schema", [EVENT_VERDICT, FAILURE, *(t.input for t in TASK_SCHEMAS.values())])
def test_a_schema_is_a_schema(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("task", TASK_SCHEMAS)
def test_the_example_is_what_the_schema_asks_for(task: str) -> None:
    Draft202012Validator(TASK_SCHEMAS[task].input).validate(TASK_SCHEMAS[task].example)


def test_the_example_of_log_event_is_valid_for_the_official_schema() -> None:
    Draft7Validator(_official("log_event")).validate(TASK_SCHEMAS["log_event"].example)


@pytest.mark.parametrize("task", TASK_SCHEMAS)
def test_every_member_but_the_account_is_one_that_the_official_schema_has(task: str) -> None:
    envelope = {"adcp_version", "context", "ext", "account"}

    assert TASK_SCHEMAS[task].input["properties"].keys() - envelope <= _official(task)["properties"].keys()
