"""The files in deploy/ and the Dockerfile: what the tools of those who run them say of them, and whether they agree.

The servers that they describe are not here: a linter, schemas, HAProxy and ClickHouse read what is theirs.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx2
import pytest
import yaml
from tests.clickhouse_server import ClickHouseServer
from tests.conftest import HTTP, eventually, free_port

from postback.cli.serve import IDLE_SECONDS
from postback.config import SETTINGS, load_settings
from postback.store.nodes import MOST_NODES

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = ROOT / "Dockerfile"
COMPOSE = [DEPLOY / "compose.yaml", DEPLOY / "compose.cluster.yaml"]
MANIFESTS = DEPLOY / "kubernetes" / "postback.yaml"
SECRETS = {
    "POSTGRES_PASSWORD": "0f" * 16,
    "CLICKHOUSE_PASSWORD": "1e" * 16,
    "POSTBACK_SECRET": "2d" * 32,
    "POSTBACK_BOOTSTRAP_KEY": "3c" * 16,
}


def compose(file: Path) -> dict[str, Any]:
    """A file for Compose, with what its variables stand for."""
    value = re.compile(r"\$\{(\w+)(?::\?|:-([^}]*))\}")
    text = value.sub(lambda found: SECRETS.get(found[1], found[2] or ""), file.read_text())
    return dict(yaml.safe_load(text))


def manifest(kind: str) -> dict[str, Any]:
    documents = yaml.safe_load_all(MANIFESTS.read_text())
    return next(document for document in documents if document["kind"] == kind)


def said_by(tool: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """What a tool of build/deploy, or of the system, says; the test is skipped where it is not installed."""
    found = ROOT / "build" / "deploy" / "bin" / tool
    command = str(found) if found.exists() else shutil.which(tool)
    if command is None:
        pytest.skip(f"{tool} is not installed; 'make build/deploy/installed' and .ci/packages install it")
    return subprocess.run([command, *arguments], capture_output=True, text=True, check=False)


def test_the_linter_of_dockerfiles_has_nothing_to_say() -> None:
    read = said_by("hadolint", "--failure-threshold", "style", DOCKERFILE)

    assert (read.returncode, read.stdout) == (0, "")


def test_compose_knows_every_word_of_its_files() -> None:
    read = said_by("check-jsonschema", "--builtin-schema", "vendor.compose-spec", *COMPOSE)

    assert read.returncode == 0, read.stdout


def test_kubernetes_knows_every_word_of_the_manifests() -> None:
    read = said_by("kubernetes-validate", "--strict", MANIFESTS)

    assert read.returncode == 0, read.stdout + read.stderr


def test_haproxy_takes_its_configuration() -> None:
    read = said_by("haproxy", "-c", "-f", DEPLOY / "haproxy.cfg")

    assert read.returncode == 0, read.stderr


def test_callers_are_told_when_to_retry_while_no_postback_answers(tmp_path: Path) -> None:
    program = shutil.which("haproxy")
    if program is None:
        pytest.skip("haproxy is not installed; .ci/packages installs it")
    port, others = free_port(), iter((free_port(), free_port()))
    chosen = re.sub(
        r"bind :(\d+)",
        lambda found: f"bind 127.0.0.1:{port if found[1] == '8787' else next(others)}",
        (DEPLOY / "haproxy.cfg").read_text().replace("maxconn 20000", "maxconn 100"),  # as many files as any user has
    )
    (tmp_path / "haproxy.cfg").write_text(chosen)
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen([program, "-f", tmp_path / "haproxy.cfg"], stdout=log, stderr=log) as running,
    ):
        try:
            answer = eventually(partial(answered, f"http://127.0.0.1:{port}/v1/log_event"), "an answer of HAProxy")
        finally:
            running.terminate()

    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"
    assert (answer.json()["status"], answer.json()["adcp_error"]["code"]) == ("failed", "SERVICE_UNAVAILABLE")
    assert answer.json()["adcp_error"]["retry_after"] == 5


def answered(url: str) -> httpx2.Response | None:
    """The answer of a call; None while nobody listens."""
    with suppress(httpx2.ConnectError):
        return HTTP.post(url, json={})
    return None


def test_clickhouse_reads_which_replica_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine of the tests, which can't replicate, reads the same configuration."""
    monkeypatch.setenv("SHARD", "2")
    monkeypatch.setenv("REPLICA", "b")
    settings = ElementTree.parse(DEPLOY / "clickhouse" / "replica.xml").getroot()
    own = [ElementTree.tostring(each, "unicode") for each in settings if each.tag != "listen_host"]
    server = ClickHouseServer(free_port(), "".join(own))
    try:
        assert server.execute("SELECT getMacro('shard'), getMacro('replica')").split() == ["2", "b"]
        create = (DEPLOY / "clickhouse" / "database.sql").read_text()
        assert "Replicated" in server.execute(f"EXPLAIN AST {create}")
    finally:
        server.stop()


def test_keepers_name_each_other_as_the_replicas_do() -> None:
    keeper = ElementTree.parse(DEPLOY / "clickhouse" / "keeper.xml").getroot()
    replica = ElementTree.parse(DEPLOY / "clickhouse" / "replica.xml").getroot()
    named = [node.text for node in keeper.findall("keeper_server/raft_configuration/server/hostname")]
    port = keeper.findtext("keeper_server/tcp_port")

    assert named == [node.text for node in replica.findall("zookeeper/node/host")]
    assert {node.text for node in replica.findall("zookeeper/node/port")} == {port}
    assert set(named) < compose(COMPOSE[1])["services"].keys()
    ids = [node.text for node in keeper.findall("keeper_server/raft_configuration/server/id")]
    assert ids == [str(compose(COMPOSE[1])["services"][name]["environment"]["KEEPER_ID"]) for name in named]


def test_haproxy_leads_to_what_compose_starts() -> None:
    services = compose(COMPOSE[1])["services"]
    text = (DEPLOY / "haproxy.cfg").read_text()
    servers = re.findall(r"^    server \S+ ([\w-]+):(\d+)", text, re.MULTILINE)

    started = {name for name, service in services.items() if service["image"] == "postback" or "SHARD" in str(service)}
    assert {name for name, _ in servers} == started
    assert int(re.findall(r"timeout client (\d+)s", text)[0]) > IDLE_SECONDS


def environments() -> Iterator[tuple[str, dict[str, str]]]:
    """What each kind of deployment sets."""
    for file in COMPOSE:
        for name, service in compose(file)["services"].items():
            if service["image"] == "postback":
                yield f"{name} of {file.name}", service["environment"]
    (container,) = manifest("StatefulSet")["spec"]["template"]["spec"]["containers"]
    yield (
        MANIFESTS.name,
        {entry["name"]: entry.get("value", SECRETS.get(entry["name"], "x")) for entry in container["env"]},
    )


@pytest.mark.parametrize(("name", "environ"), [*environments()])
def test_postback_takes_its_settings(name: str, environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("2d" * 32)
    (tmp_path / "clickhouse-password").write_text("x")
    known = {setting.variable for setting in SETTINGS}
    mounted = {key: value.replace("/run/secrets/postback", str(tmp_path)) for key, value in environ.items()}

    settings = load_settings({key: value for key, value in mounted.items() if key in known})

    assert {key for key in environ if key.startswith("POSTBACK_")} <= known, name
    assert settings.control == "postgresql+psycopg://postback@" + environ["POSTBACK_CONTROL"].partition("@")[2]
    assert settings.events


def test_the_pods_run_as_the_user_of_the_image() -> None:
    pod = manifest("StatefulSet")["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert (
        f"USER {pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}" in DOCKERFILE.read_text()
    )
    assert f"POSTBACK_DATA={container['volumeMounts'][0]['mountPath']}" in DOCKERFILE.read_text()
    assert manifest("HorizontalPodAutoscaler")["spec"]["maxReplicas"] < MOST_NODES
    assert pod["enableServiceLinks"] is False  # else POSTBACK_PORT is tcp://…, which the start refuses


def test_the_image_is_made_of_what_its_context_has() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE.read_text(), re.MULTILINE)

    assert {source for line in copied for source in line.split()} == kept
    assert all((ROOT / source).exists() for source in kept)
