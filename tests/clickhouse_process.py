"""The process of a ClickHouse server for tests: upstream's engine, out of chDB's package, listens for connections.

Run by the interpreter of build/clickhouse in a folder with a config.xml; what is stored goes into its folder ``data``.
Of the package only the extension is loaded: the rest of it would open an engine of its own.
"""

from __future__ import annotations

import ctypes
import signal
import sysconfig
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_SERVE_FOR_GOOD = """
SYSTEM START LISTEN HTTP;
SELECT sum(sleepEachRow(1)) FROM numbers(1000000000)
SETTINGS max_block_size = 1, function_sleep_max_microseconds_per_block = 0
"""


def _engine() -> Any:
    (file,) = Path(sysconfig.get_path("platlib"), "chdb").glob("_chdb.*.so")
    spec = spec_from_file_location("_chdb", file)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # it must not outlive tests that are killed
    _engine().query(_SERVE_FOR_GOOD, "TabSeparated", path=str(Path("data").absolute()))
