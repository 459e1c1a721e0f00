"""A credential among a call's arguments is found wherever it stands, and nothing else is taken for one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from postback.errors import CredentialInArguments
from postback.tasks.arguments import Arguments
from postback.tasks.credentials import refuse_credentials


def refuse(arguments: dict[str, Any]) -> None:
    refuse_credentials(Arguments(json.dumps(arguments).encode()))


@pytest.mark.parametrize(
    "name",
    [
        *("api_key", "API-Key", "x-api-key", "api_token", "authorization", "x_adcp_auth", "bearer", "bearer_token"),
        *("client_secret", "credentials", "id_token", "jwt", "private_key", "secret", "secret_key", "session_token"),
    ],
)
def test_a_text_with_the_name_of_a_credential_is_refused(name: str) -> None:
    with pytest.raises(CredentialInArguments) as refused:
        refuse({name: "pb_secret"})

    assert refused.value.field == name


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"context": {"credentials": "pb_secret"}}, "context.credentials"),
        ({"account": {"api_key": "pb_secret"}}, "account.api_key"),
        ({"packages": [{}, {"api_key": "pb_secret"}]}, "packages.1.api_key"),
        ({"event_sources": [{"surface": {"jwt": "pb_secret"}}]}, "event_sources.0.surface.jwt"),
        ({"credentials": ["pb_secret"]}, "credentials.0"),
        ({"credentials": {"password": "pb_secret"}}, "credentials.password"),
        (
            {"context": {"webhook": {"authentication": {"credentials": "x"}}}},
            "context.webhook.authentication.credentials",
        ),
        ({"ext": {"ann@shop.example": {"jwt": "pb_secret"}}}, None),
    ],
)
def test_it_is_found_wherever_it_stands(arguments: dict[str, Any], field: str | None) -> None:
    with pytest.raises(CredentialInArguments) as refused:
        refuse(arguments)

    assert refused.value.field == field


@pytest.mark.parametrize(
    "arguments",
    [
        {"authorization": None, "ext": {"authorization": {"roles": ["buyer"]}, "credentials": 3}},
        {"secrets": "none", "token": "of a push_notification_config", "keywords": ["api_key", "jwt"]},
        {"push_notification_config": {"authentication": {"schemes": ["Bearer"], "credentials": "for you"}}},
        {"accounts": [{"notification_configs": [{"authentication": {"credentials": "for you"}}]}]},
        {"packages": [{"targeting_overlay": {"property_list_exclude": {"list_id": "1", "auth_token": "for you"}}}]},
        {"property_list": {"list_id": "1", "auth_token": "for you"}},
        {"events": [{"api_key": "judged with its event"}]},
    ],
)
def test_what_is_none_and_what_is_meant_for_the_seller_is_taken(arguments: dict[str, Any]) -> None:
    refuse(arguments)


def test_a_name_that_is_spelt_out_is_found_too() -> None:
    with pytest.raises(CredentialInArguments):
        refuse_credentials(Arguments(b'{"ext": {"api\\u005fkey" : "pb_secret"}}'))


def test_entries_that_cannot_be_parsed_are_left_to_their_reader() -> None:
    refuse_credentials(Arguments(b'{"event_sources": [{"event_source_id": "\\ud800"}]}'))
