"""Threads that decode the same struct for the first time at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

DECODE_AT_ONCE = """
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
import msgspec
from postback.protocol.struct_types import prepare_structs

inner = msgspec.defstruct("Inner", [(f"inner_{n}", int, 0) for n in range(30)], module="structs")
middle = msgspec.defstruct("Middle", [(f"middle_{n}", list[inner] | None, None) for n in range(30)], module="structs")
outer = msgspec.defstruct("Outer", [(f"outer_{n}", tuple[middle, ...], ()) for n in range(20)], module="structs")
sent = {"outer_0": [{"middle_0": [{"inner_1": 3}]}], "outer_19": [{"middle_29": [{"inner_29": 3}]}]}

if "prepared" in sys.argv:
    prepare_structs()
sys.setswitchinterval(1e-6)
together = Barrier(8)


def decode(_):
    together.wait()
    return msgspec.convert(sent, outer)


with ThreadPoolExecutor(8) as threads:
    assert len(set(map(repr, threads.map(decode, range(8))))) == 1
"""


@pytest.mark.parametrize("attempt", range(3))
def test_structs_that_were_prepared_are_decoded_by_many_threads_at_once(tmp_path: Path, attempt: int) -> None:
    program = tmp_path / "decode_at_once.py"
    program.write_text(DECODE_AT_ONCE)

    assert subprocess.run([sys.executable, program, "prepared"], check=False).returncode == 0
