"""A reader pastes the commands of a page, one after the other, and gets the answers that the page shows.

Blocks marked ``bash`` are run, in a fresh folder beside a fresh server; a ``json`` or ``text`` block after one is its
output. JSON may be shortened: members may be missing from what is shown. Blocks marked ``sh`` are only shown.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Server, StartServer

ROOT = Path(__file__).parents[2]
PAGES = sorted(page for page in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")] if "```bash\n" in page.read_text())

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_END = "--- end of a block ---"
_CHANGING = [
    (re.compile(r"pb_[\w-]{16,}"), "KEY"),
    (re.compile(r"key_[0-9a-f]{12}"), "KEY-ID"),
    (re.compile(r"src_[0-9a-f]{16}"), "SELLER-ID"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "REQUEST-ID"),
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d[\d:.]*Z"), "TIME"),
]


@dataclass
class Block:
    """A command, and the output that the page shows for it: ``json``, ``text``, or nothing."""

    command: str
    language: str = ""
    output: str = ""


def blocks(page: Path) -> list[Block]:
    found: list[Block] = []
    answers = False
    for language, text in _BLOCK.findall(page.read_text()):
        if language == "bash":
            found.append(Block(text))
        elif answers and language in {"json", "text"}:
            found[-1].language, found[-1].output = language, text
        answers = language == "bash"
    return found


def run(page: Path, server: Server, folder: Path) -> list[str]:
    """What each command block of the page prints."""
    port = server.url.rpartition(":")[2]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("POSTBACK_")} | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "POSTBACK_URL": server.url,
        "POSTBACK_KEY": server.key,
    }
    script = "".join(f"{block.command}\necho '{_END}'\n" for block in blocks(page))
    command = ["bash", "-euo", "pipefail", "-c", script.replace("8787", port)]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout.replace(port, "8787").split(_END)[:-1]


@pytest.mark.skipif(shutil.which("curl") is None, reason="the pages call the server with curl")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_answers_what_the_page_shows(page: Path, start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(data=tmp_path / "postback-data")
    outputs = run(page, server, tmp_path)
    server.stop()

    for block, printed in zip(blocks(page), outputs, strict=True):
        if block.language == "json":
            assert_shown(json.loads(_steady(block.output)), json.loads(_steady(printed)), block.command)
        elif block.language == "text":
            assert _lines(block.output) == _lines(printed), block.command


def test_a_buy_of_a_sales_agent_is_registered_as_the_page_says(start_own_server: StartServer, tmp_path: Path) -> None:
    page = (ROOT / "docs/how-to/beside-a-sales-agent.md").read_text()
    found = _BLOCK.findall(page)
    (products,) = (text for language, text in found if language == "toml" and "[[products]]" in text)
    (command,) = (text for language, text in found if "/v1/create_media_buy" in text)
    (tmp_path / "products.toml").write_text(products)
    server = start_own_server(products=tmp_path / "products.toml")
    server.call("sync_event_sources", event_sources=[{"event_source_id": "website"}]).raise_for_status()

    done = subprocess.run(
        ["bash", "-c", command.replace("http://127.0.0.1:8787", server.url)],
        env=os.environ | {"BUYERS_KEY": server.key},
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(done.stdout)["media_buy_id"] == "order-4711"


def assert_shown(shown: Any, real: Any, place: str) -> None:
    """Everything that is shown is real."""
    if isinstance(shown, dict):
        assert isinstance(real, dict), place
        for name, member in shown.items():
            assert name in real, f"{place}.{name}"
            assert_shown(member, real[name], f"{place}.{name}")
    elif isinstance(shown, list):
        assert isinstance(real, list), place
        assert len(shown) == len(real), place
        for index, (member, real_member) in enumerate(zip(shown, real, strict=True)):
            assert_shown(member, real_member, f"{place}[{index}]")
    else:
        assert shown == real, place


def _lines(text: str) -> list[str]:
    """The lines of a text, whatever the widths of its columns and the order of rows made within one second."""
    return sorted(" ".join(line.split()) for line in _steady(text).strip().splitlines())


def _steady(text: str) -> str:
    """Output without what differs from run to run."""
    for pattern, name in _CHANGING:
        text = pattern.sub(name, text)
    return text
