"""The scripts of others in the repository are what the lock of their packages names, to the byte."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.vendored import FILES, RECORD, ROOT, VENDOR, install, recorded

NO_REGISTRY = {"ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ENETUNREACH", "ETIMEDOUT", "ENOTCACHED"}


def test_each_script_is_the_one_that_was_recorded_with_its_package() -> None:
    assert json.loads(RECORD.read_text()) == recorded()


def test_no_other_script_is_there() -> None:
    found = {str(file.relative_to(ROOT)) for file in [*VENDOR.glob("*.js"), *(ROOT / "tests/vendor").iterdir()]}

    assert found == FILES.keys()


def test_the_lock_names_no_registry() -> None:
    assert "resolved" not in (VENDOR / "package-lock.json").read_text()


def test_the_packages_of_the_lock_contain_these_very_scripts(tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("npm isn't installed")
    try:
        installed = install(tmp_path)
    except subprocess.CalledProcessError as error:
        if NO_REGISTRY.isdisjoint(error.stderr.split()):
            pytest.fail(error.stderr)
        pytest.skip("npm reaches no registry")

    for name, source in FILES.items():
        assert (ROOT / name).read_bytes() == (installed / source).read_bytes(), name
