"""The log says what broke and where, and never quotes what a caller sent."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest
from tests.conftest import eventually

from postback.errors import StoreUnavailable
from postback.logs import (
    GatheredLines,
    JsonFormatter,
    LogFields,
    RequestContext,
    TextFormatter,
    bind_shared,
    current_request,
    log_loop_exception,
)

FORMATTERS: list[logging.Formatter] = [TextFormatter(), JsonFormatter()]
both_formats = pytest.mark.parametrize("formatter", FORMATTERS, ids=["text", "json"])


def _record(message: object, *arguments: object) -> logging.LogRecord:
    record = logging.LogRecord("postback.access", logging.INFO, __file__, 1, message, arguments, None)
    record.created, record.msecs = 1.5, 500.0
    return record


def _failed(error: Exception) -> logging.LogRecord:
    try:
        raise error
    except Exception:
        return logging.LogRecord("postback.defects", logging.ERROR, __file__, 1, "it failed", None, sys.exc_info())


def _logged(error: Exception) -> str:
    return TextFormatter().format(_failed(error))


class _Stream(io.StringIO):
    """A stream that remembers what each write brought."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, text: str) -> int:
        self.writes.append(text)
        return super().write(text)


def _logger(stream: _Stream) -> logging.Logger:
    """A logger of its own, whose lines are their messages."""
    logger = logging.Logger("postback.access")
    logger.addHandler(GatheredLines(stream))
    return logger


def _fields(record: logging.LogRecord) -> dict[str, object]:
    line = JsonFormatter().format(record)
    assert "\n" not in line
    fields: dict[str, object] = json.loads(line)
    return fields


@contextmanager
def _bound(request: RequestContext | None) -> Iterator[None]:
    token = current_request.set(request)
    yield
    current_request.reset(token)


def test_a_line_has_time_level_logger_and_message() -> None:
    record = logging.LogRecord("postback.access", logging.INFO, __file__, 1, "POST %s", ("/v1/{task}",), None)
    record.created = 0

    assert TextFormatter().format(record) == "1970-01-01T00:00:00Z INFO postback.access POST /v1/{task}"


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


@both_formats
@pytest.mark.parametrize(
    "arguments",
    [
        (ValueError("jane@example.com"),),
        ("it failed: %s", ValueError("jane@example.com")),
        ("it failed: %(error)s", {"error": ValueError("jane@example.com")}),
    ],
    ids=["message", "argument", "named argument"],
)
def test_an_exception_that_a_library_logs_as_text_is_named_only(
    formatter: logging.Formatter, arguments: tuple[object, ...]
) -> None:
    line = formatter.format(_record(*arguments))

    assert "ValueError" in line
    assert "jane@example.com" not in line


@both_formats
def test_a_message_whose_arguments_do_not_fit_is_logged_without_them(formatter: logging.Formatter) -> None:
    line = formatter.format(_record("%d rows", "jane@example.com"))

    assert "%d rows" in line
    assert "jane@example.com" not in line


def test_a_json_line_has_time_level_logger_and_message() -> None:
    assert _fields(_record("%d rows", 3)) == {
        "time": "1970-01-01T00:00:01.500Z",
        "level": "INFO",
        "logger": "postback.access",
        "message": "3 rows",
    }


@pytest.mark.parametrize("message", ["one\ntwo\r\n", "naïve ☕ \u2028 \x85", "half \ud83d", '"quoted" \\ \x00'])
def test_a_json_line_is_ascii_and_one_line_whatever_the_message(message: str) -> None:
    line = JsonFormatter().format(_record(message))

    assert line.isascii()
    assert len(line.splitlines()) == 1
    assert json.loads(line)["message"] == message


def test_a_json_line_shows_the_frames_of_an_exception_without_its_message() -> None:
    inner = ValueError("jane@example.com")
    outer = RuntimeError("jane@example.com")
    outer.__cause__ = inner

    fields = _fields(_failed(outer))

    assert fields["message"] == "it failed"
    frames = str(fields["exception"])
    assert "jane@example.com" not in str(fields)
    assert "test_logs.py" in frames
    assert frames.index("ValueError") < frames.index("RuntimeError")


def test_the_fields_of_a_message_are_fields_of_its_json_line() -> None:
    class Purged(LogFields):
        rows: int

        def __str__(self) -> str:
            return f"purged rows={self.rows}"

    record = _record(Purged("purged", 7))

    assert _fields(record)["message"] == "purged"
    assert _fields(record)["rows"] == 7
    assert TextFormatter().format(record).endswith("postback.access purged rows=7")


def test_every_line_of_a_request_has_its_ids() -> None:
    request = RequestContext("order-import-7")

    with _bound(request):
        before = TextFormatter().format(_record("looked up")), _fields(_record("looked up"))
        request.key_id = "key_1"
        after = TextFormatter().format(_record("stored")), _fields(_record("stored"))

    assert before[0].endswith("looked up key=- request=order-import-7")
    assert before[1]["request_id"] == "order-import-7"
    assert "key_id" not in before[1]
    assert after[0].endswith("stored key=key_1 request=order-import-7")
    assert (after[1]["request_id"], after[1]["key_id"]) == ("order-import-7", "key_1")
    assert "order-import-7" not in TextFormatter().format(_record("purged"))


def test_the_ids_stand_before_the_frames_of_an_exception() -> None:
    with _bound(RequestContext("order-import-7")):
        first, *frames = _logged(ValueError()).splitlines()

    assert first.endswith("request=order-import-7")
    assert frames[-1] == "ValueError"


@pytest.mark.parametrize(("requests", "shown"), [(["a", "a"], "a"), (["a", "b"], None)])
def test_work_that_requests_share_carries_the_id_of_none(requests: list[str], shown: str | None) -> None:
    contexts: Mapping[str, RequestContext] = {name: RequestContext(name) for name in requests}

    with _bound(None):
        bind_shared(contexts[name] for name in requests)
        assert _fields(_record("inserted")).get("request_id") == shown


@pytest.mark.anyio
async def test_what_the_event_loop_reports_quotes_neither_exceptions_nor_arguments(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.handler.setFormatter(TextFormatter())
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(log_loop_exception)

    def fail(payload: str) -> None:
        raise ValueError(payload)

    loop.call_soon(fail, "jane@example.com")
    await asyncio.sleep(0.01)
    loop.set_exception_handler(None)

    assert "ERROR asyncio Exception in callback" in caplog.text
    assert "in fail" in caplog.text
    assert "jane@example.com" not in caplog.text


def test_lines_of_the_event_loop_are_written_together_and_soon() -> None:
    stream = _Stream()
    log = _logger(stream)

    async def serve() -> None:
        log.info("one")
        log.info("two")
        await asyncio.to_thread(eventually, lambda: stream.writes)

    asyncio.run(serve())

    assert stream.writes == ["one\ntwo\n"]


def test_a_warning_is_written_at_once_behind_what_came_before_it() -> None:
    stream = _Stream()
    log = _logger(stream)

    async def serve() -> None:
        log.info("one")
        log.warning("two")
        assert stream.writes == ["one\ntwo\n"]

    asyncio.run(serve())


def test_what_a_thread_logs_is_written_at_once() -> None:
    stream = _Stream()

    _logger(stream).info("one")

    assert stream.writes == ["one\n"]


def test_the_end_of_a_process_writes_what_still_waits() -> None:
    program = (
        "import asyncio, logging; from postback import logs; logs.configure('info', 'text')\n"
        "async def serve(): logging.getLogger('postback.access').info('the last line')\n"
        "asyncio.run(serve())"
    )

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert ended.stderr.endswith("the last line\n")
