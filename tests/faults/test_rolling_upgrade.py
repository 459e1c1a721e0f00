"""Servers are replaced one by one by those of this code while they are called: nothing is lost, or counted twice."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from functools import partial
from pathlib import Path

import pytest
from tests.conftest import Server, eventually
from tests.faults.cluster import Cluster, Prefix, running_cluster
from tests.faults.cluster_ledger import check_cluster
from tests.faults.cluster_load import ClusterLoad

_OLD = "796eef9"
"""A commit before the latest migrations of either store, whose servers share shards."""

_ANSWERS = 20
_ROOT = Path(__file__).parents[2]


@pytest.fixture
def old(tmp_path: Path) -> Prefix:
    """What servers are started under to run the code of that commit."""
    archived = subprocess.run(["git", "archive", _OLD, "src"], cwd=_ROOT, capture_output=True, check=False)
    if archived.returncode:
        pytest.skip(f"This clone's history doesn't go back to {_OLD}")
    with tarfile.open(fileobj=io.BytesIO(archived.stdout)) as archive:
        archive.extractall(tmp_path / "old", filter="data")
    return ("env", f"PYTHONPATH={tmp_path / 'old' / 'src'}")


@pytest.mark.skipif("TEST_UPGRADE" not in os.environ, reason="It takes minutes; make test-clickhouse runs it")
def test_servers_are_replaced_by_newer_ones_without_an_outage(old: Prefix, tmp_path: Path) -> None:
    with running_cluster(tmp_path, old) as (cluster, receiver):
        load, before = ClusterLoad(cluster), _schema(cluster)
        with load.sending():
            _all_answer(cluster, load)
            for server in cluster.servers:
                server.stop()
                cluster.restart(server, ())
                assert _schema(cluster) > before
                _all_answer(cluster, load)
        found = check_cluster(cluster, load, receiver, tmp_path)

    assert found["events"] > 100
    assert found["media buys"] >= 10


def _schema(cluster: Cluster) -> int:
    database = cluster.events[0].rpartition("/")[2]
    return int(cluster.clickhouse.execute("SELECT max(version) FROM schema_version", database))


def _all_answer(cluster: Cluster, load: ClusterLoad) -> None:
    """Wait until each server, the old ones and the new ones, has answered some calls more."""
    before = load.answered.copy()
    for server in cluster.servers:
        eventually(partial(_answers, load, server, before[server.url] + _ANSWERS), f"answers of {server.url}")


def _answers(load: ClusterLoad, server: Server, calls: int) -> bool:
    return load.answered[server.url] >= calls
