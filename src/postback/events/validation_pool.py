"""Where a batch is validated: in the server itself when it is small, in a worker process when it is large.

Validation takes most of a batch's time, and Python runs one thread at a time: processes let it use every core, and
leave the server free to read, store and respond.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process

import msgspec

from postback.events.identifiers import IdentifierHasher
from postback.events.rules import EventRules
from postback.events.turns import Turns
from postback.events.validate import ValidationResult, validate_events
from postback.events.validation_worker import LENGTH, PackedResult, unpack
from postback.threads import ThreadPool

__all__ = ["ValidationPool"]

_INLINE = 50
_INLINE_BYTES = 65_536
"""Batches up to this size are validated on the event loop; anything else would cost more than they do."""

_COMMAND = (sys.executable, "-m", "postback.events.validation_worker")
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH", "TZ", "VIRTUAL_ENV")

_HUNG_SECONDS = 60
"""A worker that takes longer for a batch is replaced."""

_READ_AHEAD = 4 * 2**20
"""Bytes of a worker's result that may wait to be read: most results fit."""

_log = logging.getLogger(__name__)

_decode = msgspec.msgpack.Decoder(PackedResult).decode


class ValidationPool:
    """Validates batches for one event loop.

    Args:
        secret: The installation's, which keys the hashes of identifiers.
        identifiers: Made with the same secret.
        processes: Number of worker processes; 0: threads. Each starts with the first batch that needs it.
        threads: Where the server itself validates large batches.
    """

    def __init__(self, secret: bytes, identifiers: IdentifierHasher, processes: int, threads: ThreadPool) -> None:
        self._secret = secret
        self._identifiers = identifiers
        self._processes = processes
        self._threads = threads
        self._turns = Turns[Process | None]([None] * processes)
        self._at_work: set[asyncio.Task[ValidationResult]] = set()

    async def validate(
        self, events: list[msgspec.Raw], array: msgspec.Raw, rules: EventRules, key_id: str
    ) -> ValidationResult:
        """Validate each event of a batch by itself.

        Args:
            events: The bytes of each event.
            array: The JSON array that they were taken from, which passes through a pipe without another copy.
            rules: What they are checked against.
            key_id: Whose they are; keys take turns.
        """
        if len(events) <= _INLINE and memoryview(array).nbytes <= _INLINE_BYTES:
            return validate_events(events, rules, self._identifiers)
        if not self._processes:
            return await self._threads.run(validate_events, events, rules, self._identifiers)
        process = await self._turns.take(key_id)
        work = asyncio.create_task(self._validate_in(process, events, array, rules))
        self._at_work.add(work)
        work.add_done_callback(self._at_work.discard)
        # A caller that goes away must not leave half an exchange in the pipe.
        return await asyncio.shield(work)

    async def stop(self) -> None:
        """End the processes, after the batches that they have."""
        await asyncio.gather(*self._at_work, return_exceptions=True)
        for process in filter(None, self._turns.take_idle()):
            process.stdin.close()  # type: ignore[union-attr] # it was asked for
            await process.wait()

    async def _validate_in(
        self, process: Process | None, events: list[msgspec.Raw], array: msgspec.Raw, rules: EventRules
    ) -> ValidationResult:
        """Validate in a worker, a new one if need be; in the server when the worker fails."""
        try:
            async with asyncio.timeout(_HUNG_SECONDS):
                process = process or await self._start()
                await _send(process, msgspec.msgpack.encode(rules))
                await _send(process, memoryview(array))
                return unpack(_decode(await _receive(process)))
        except (OSError, EOFError) as error:  # TimeoutError is an OSError
            _log.error("a validation worker failed (%s); its batch is validated in the server", type(error).__name__)
            if process and process.returncode is None:
                process.kill()
            process = None
            return await self._threads.run(validate_events, events, rules, self._identifiers)
        finally:
            self._turns.give(process)

    async def _start(self) -> Process:
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        # Without stderr, since a traceback may quote an event; what fails there fails again here, and is logged safely.
        process = await asyncio.create_subprocess_exec(
            *_COMMAND, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment, limit=_READ_AHEAD
        )
        await _send(process, self._secret)
        return process


async def _send(process: Process, message: bytes | memoryview) -> None:
    assert process.stdin is not None  # noqa: S101 - narrows the type: it was asked for
    if process.stdin.is_closing():  # it ended while it was idle; uvloop's write raises a RuntimeError then
        raise BrokenPipeError
    process.stdin.write(LENGTH.pack(len(message)))
    process.stdin.write(message)
    await process.stdin.drain()


async def _receive(process: Process) -> bytes:
    assert process.stdout is not None  # noqa: S101 - narrows the type: it was asked for
    (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
    return await process.stdout.readexactly(length)
