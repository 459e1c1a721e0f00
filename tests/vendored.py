"""Scripts of others that are in the repository: from which npm package each is, and the command that copies them.

``python -m tests.vendored`` installs what the lock beside the console's scripts names, copies the files, and records
their digests. No build step: whoever installs Postback gets the files.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from base64 import b64encode
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

__all__ = ["FILES", "RECORD", "ROOT", "VENDOR", "install", "recorded"]

ROOT = Path(__file__).parents[1]
VENDOR = ROOT / "src/postback/console/static/vendor"
RECORD = VENDOR / "files.json"

FILES = {
    "src/postback/console/static/vendor/htmx.min.js": "htmx.org/dist/htmx.min.js",
    "src/postback/console/static/vendor/hx-csp.min.js": "htmx.org/dist/ext/hx-csp.min.js",
    "src/postback/console/static/vendor/hx-sse.min.js": "htmx.org/dist/ext/hx-sse.min.js",
    "tests/vendor/axe.min.js": "axe-core/axe.min.js",
}
"""A file of the repository → the file of a package that it is a copy of."""


def install(folder: Path) -> Path:
    """Install the packages of the lock into a folder; returns its ``node_modules``."""
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(VENDOR / name, folder)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=0"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return folder / "node_modules"


def recorded() -> dict[str, dict[str, str]]:
    """What RECORD must say of each file: the package, the version and the digest in the lock, and the file's digest."""
    packages: dict[str, Any] = json.loads((VENDOR / "package-lock.json").read_text())["packages"]
    found = {}
    for name, source in FILES.items():
        package = source.partition("/")[0]
        locked = packages[f"node_modules/{package}"]
        digest = b64encode(hashlib.sha384((ROOT / name).read_bytes()).digest()).decode()
        found[name] = {
            "package": f"{package}@{locked['version']}",
            "package_integrity": locked["integrity"],
            "file": source,
            "file_integrity": f"sha384-{digest}",
        }
    return found


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        installed = install(Path(folder))
        for name, source in FILES.items():
            shutil.copyfile(installed / source, ROOT / name)
    RECORD.write_text(json.dumps(recorded(), indent=2) + "\n")
