"""The log says what broke and where, and never quotes what a caller sent."""

from __future__ import annotations

import logging
import sys

from postback.errors import StoreUnavailable
from postback.logs import LineFormatter


def _logged(error: Exception) -> str:
    try:
        raise error
    except Exception:
        record = logging.LogRecord("postback.defects", logging.ERROR, __file__, 1, "it failed", None, sys.exc_info())
    return LineFormatter().format(record)


def test_a_line_has_time_level_logger_and_message() -> None:
    record = logging.LogRecord("postback.access", logging.INFO, __file__, 1, "POST %s", ("/v1/{task}",), None)
    record.created = 0

    assert LineFormatter().format(record) == "1970-01-01T00:00:00Z INFO postback.access POST /v1/{task}"


def test_the_message_of_a_foreign_exception_stays_out_of_the_log() -> None:
    line = _logged(ValueError("cannot parse 'jane@example.com'"))

    assert "jane@example.com" not in line
    assert line.endswith("ValueError")
    assert "test_logs.py" in line


def test_the_causes_of_an_exception_are_shown_without_their_messages_too() -> None:
    inner = ValueError("jane@example.com")
    outer = RuntimeError("jane@example.com")
    outer.__cause__ = ExceptionGroup("jane@example.com", [inner])

    line = _logged(outer)

    assert "jane@example.com" not in line
    assert line.index("ValueError") < line.index("ExceptionGroup") < line.index("RuntimeError")


def test_an_operator_reads_our_own_sentences_and_those_of_the_operating_system() -> None:
    error = StoreUnavailable("The event store refuses to write.")
    error.__cause__ = OSError(28, "No space left on device", "/data/tmp/x")

    line = _logged(error)

    assert "OSError: No space left on device" in line
    assert line.endswith("StoreUnavailable: The event store refuses to write.")
