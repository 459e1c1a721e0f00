"""The agent card and the errors of A2A are what the official SDK would publish, in both versions."""

from __future__ import annotations

import pytest
from a2a.compat.v0_3 import types as v0_3
from a2a.server.request_handlers.response_helpers import agent_card_to_dict, build_error_response
from a2a.types import a2a_pb2
from a2a.utils import errors as official
from a2a.utils.constants import AGENT_CARD_WELL_KNOWN_PATH
from google.protobuf.json_format import ParseDict

from postback.transports import a2a_errors
from postback.transports.a2a_errors import A2AError
from postback.transports.agent_card import AGENT_CARD_PATH, agent_card

ERRORS = A2AError.__subclasses__()


def test_the_card_is_the_one_that_the_sdk_makes_of_it() -> None:
    card = agent_card("https://ads.example", {"log_event": "Log events.", "list_accounts": "List accounts."})

    parsed = ParseDict(card, a2a_pb2.AgentCard(), ignore_unknown_fields=True)

    assert agent_card_to_dict(parsed) == card
    assert v0_3.AgentCard.model_validate(card).url == "https://ads.example/a2a"
    assert AGENT_CARD_PATH == AGENT_CARD_WELL_KNOWN_PATH


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_an_error_has_the_code_and_message_of_its_name(error: type[A2AError]) -> None:
    theirs = build_error_response(1, getattr(official, error.__name__)())["error"]

    assert {"code": error.code, "message": str(error())} == theirs
    assert error.__name__ in a2a_errors.__all__
