"""The script that pages load is small, is what its source says, and never changes under its address."""

from __future__ import annotations

import base64
import gzip
import json
import shutil
import subprocess
from hashlib import sha384
from pathlib import Path

import pytest
from tests.unit.test_docs import ROOT

import postback.tag
from postback.tag.script import CURRENT, SCRIPT, SCRIPTS

FOLDER = Path(postback.tag.__file__).parent
MOST_BYTES = 3_000


def test_the_script_is_below_3_kilobytes_as_it_is_sent() -> None:
    assert len(gzip.compress(CURRENT, 9, mtime=0)) < MOST_BYTES


def test_the_address_and_the_digest_are_of_the_contents() -> None:
    digest = SCRIPT.path.removeprefix("/tag/v/").removesuffix(".js")

    assert SCRIPTS[digest] == CURRENT
    assert SCRIPT.integrity == f"sha384-{base64.b64encode(sha384(CURRENT).digest()).decode()}"


def test_scripts_of_earlier_releases_have_their_digests_as_names() -> None:
    names = {file.stem for file in (FOLDER / "earlier").glob("*.js")}

    assert names == SCRIPTS.keys() - {SCRIPT.path.removeprefix("/tag/v/").removesuffix(".js")}


def test_the_lock_names_no_host_and_pins_what_the_script_is_made_with() -> None:
    lock = json.loads((FOLDER / "package-lock.json").read_text())
    asked = json.loads((FOLDER / "package.json").read_text())["devDependencies"]
    packages = {name: package for name, package in lock["packages"].items() if name}

    assert not any("resolved" in package for package in packages.values())
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    assert asked == {"terser": packages["node_modules/terser"]["version"]}


@pytest.mark.skipif(not shutil.which("npm"), reason="Node.js is not installed")
def test_the_script_is_what_its_source_makes(tmp_path: Path) -> None:
    for name in (".npmrc", "package.json", "package-lock.json", "tag.js", "terser.json"):
        shutil.copy(FOLDER / name, tmp_path)
    offline = subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    if offline.returncode:
        pytest.skip("npm can't install terser")
    [command] = [line for line in (ROOT / "Makefile").read_text().splitlines() if "/terser " in line]
    subprocess.run(command.partition("&& ")[2], shell=True, cwd=tmp_path, check=True)

    assert (tmp_path / "tag.min.js").read_bytes() == CURRENT
