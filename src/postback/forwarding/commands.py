"""Commands of the operator's that alerts are handed to, on standard input."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from tempfile import TemporaryFile

__all__ = ["CommandFailed", "run_command"]

_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ")
"""The variables that a command gets of the server's environment, which has secrets."""


class CommandFailed(Exception):
    """The command did not accept the input; says why in a few words."""


async def run_command(command: Sequence[str], body: bytes, delivery_id: str, seconds: float) -> None:
    """Run a command without a shell, with a body on its standard input. What it writes is dropped.

    Args:
        command: The path of a program, and its arguments.
        body: JSON.
        delivery_id: The same when the body is handed over again; in the variable ``IDEMPOTENCY_KEY``.
        seconds: How long it may take; then it is killed, with what it started.

    Raises:
        CommandFailed: It could not be started, took too long, or did not end with status 0.
    """
    environ = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    with TemporaryFile() as file:  # uvloop breaks when a program ends before a pipe to it is written
        file.write(body)
        file.seek(0)
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=file,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                cwd="/",
                env=environ | {"IDEMPOTENCY_KEY": delivery_id},
                start_new_session=True,
            )
        except OSError as error:
            raise CommandFailed(f"the command could not be started ({error.strerror})") from None
    try:
        async with asyncio.timeout(seconds):
            status = await process.wait()
    except TimeoutError:
        raise CommandFailed(f"the command took longer than {seconds:.0f} seconds") from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if status:
        raise CommandFailed(f"the command ended with status {status}")
