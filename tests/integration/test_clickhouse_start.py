"""An operator names a ClickHouse server for the events: what is wrong with it stops the start with a sentence."""

from __future__ import annotations

import os
import re
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.clickhouse_server import PASSWORD, ClickHouseServer
from tests.conftest import HTTP, eventually, free_port
from tests.fault_proxy import FaultProxy

from postback.errors import StartupError
from postback.store import event_engine
from postback.store.event_store import EventStore
from postback.store.table_engines import TableEngines

if TYPE_CHECKING:
    from tests.conftest import StartServer


@pytest.fixture
def own_clickhouse() -> Iterator[ClickHouseServer]:
    """A ClickHouse server that a test may kill."""
    server = ClickHouseServer(free_port())
    yield server
    server.stop()


def refusal(url: str, folder: Path) -> str:
    """What the operator is told."""
    with pytest.raises(StartupError) as refused:
        EventStore.open(url, folder)
    assert PASSWORD not in str(refused.value)
    return str(refused.value)


def test_a_wrong_password_is_said(clickhouse: ClickHouseServer, tmp_path: Path) -> None:
    url = clickhouse.new_database().replace("%40ss", "wrong")

    assert "AUTHENTICATION_FAILED. Correct the user or the password in POSTBACK_EVENTS." in refusal(url, tmp_path)


def test_a_database_that_is_missing_is_said(clickhouse: ClickHouseServer, tmp_path: Path) -> None:
    url = f"{clickhouse.new_database()}_of_nobody"

    assert "UNKNOWN_DATABASE. Create it, or correct POSTBACK_EVENTS." in refusal(url, tmp_path)


def test_a_permission_that_is_missing_is_named(clickhouse: ClickHouseServer, tmp_path: Path) -> None:
    url = clickhouse.new_database(user="stranger")

    told = refusal(url, tmp_path)

    assert "its user lacks a permission" in told
    assert "GRANT SELECT, INSERT, ALTER TABLE" in told
    assert told.endswith(" TO stranger")


def test_the_permissions_that_are_asked_for_are_those_of_the_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "use-clickhouse.md").read_text()
    documented = re.findall(r"^GRANT (.+) TO postback;$", page, re.MULTILINE)

    asked_for = (*event_engine.GRANTS, *TableEngines.PLAIN.grants, *TableEngines.REPLICATED.grants)
    assert {grant for grant in documented if "postback_comparison" not in grant} == {
        grant.format(database="postback") for grant in asked_for
    }


def test_what_a_replicated_group_is_sent_and_asked_for_is_known_to_clickhouse(
    clickhouse: ClickHouseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the engine of the database is made up: a server of the tests can't have one that is replicated."""
    engine, told = event_engine.EventEngine(clickhouse.new_database()), TableEngines.of("Replicated", cloud=False)
    monkeypatch.setattr(TableEngines, "of", lambda database_engine, *, cloud: told)

    engine.check()

    with closing(engine.client()) as client:
        client.command("CREATE TABLE fact (id UInt8) ENGINE = MergeTree ORDER BY id")
        client.command("INSERT INTO fact VALUES (7)")  # with the settings of a group
        assert client.query("SELECT id, getSetting('insert_quorum') FROM fact").result_rows == [(7, "auto")]


def test_a_server_that_is_not_there_is_said(tmp_path: Path) -> None:
    url = f"clickhouse://me:{PASSWORD.replace('/', '%2F').replace('#', '%23')}@127.0.0.1:{free_port()}/db"

    assert "can't be opened: Connection refused. Check POSTBACK_EVENTS, and that" in refusal(url, tmp_path)


def test_a_release_that_is_too_old_is_refused(
    clickhouse: ClickHouseServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_engine, "_OLDEST", (99, 1))

    assert "is version 26." in (told := refusal(clickhouse.new_database(), tmp_path))
    assert "Install 99.1 or newer." in told


def test_a_database_that_keeps_nothing_is_refused(clickhouse: ClickHouseServer, tmp_path: Path) -> None:
    url = clickhouse.new_database()
    database = url.rpartition("/")[2]
    clickhouse.execute(f"DROP DATABASE {database}")
    clickhouse.execute(f"CREATE DATABASE {database} ENGINE = Memory")

    assert "its engine is Memory, and Postback needs Atomic" in refusal(url, tmp_path)


def test_a_database_belongs_to_one_installation(start_own_server: StartServer, clickhouse: ClickHouseServer) -> None:
    url = clickhouse.new_database()
    start_own_server(events=url)

    with pytest.raises(pytest.fail.Exception, match="belongs to a control store that is not this one"):
        start_own_server(events=url)


def test_a_folder_with_events_is_not_moved_in_silence(
    start_own_server: StartServer, clickhouse: ClickHouseServer
) -> None:
    embedded = start_own_server(events="chdb://")
    embedded.stop()

    with pytest.raises(pytest.fail.Exception, match="is missing or empty, but this installation has one"):
        start_own_server(data=embedded.data, events=clickhouse.new_database())


def test_a_start_waits_for_clickhouse(own_clickhouse: ClickHouseServer, tmp_path: Path) -> None:
    url = own_clickhouse.new_database()
    own_clickhouse.kill()
    port, log = free_port(), tmp_path / "log"
    chosen = {"POSTBACK_EVENTS": url, "POSTBACK_PORT": str(port), "POSTBACK_DATA": str(tmp_path / "data")}
    with (
        log.open("wb") as stream,
        subprocess.Popen(
            [sys.executable, "-m", "postback", "serve"], env=os.environ | chosen, stdout=stream, stderr=stream
        ) as server,
    ):
        eventually(lambda: "which can't be reached: Connection refused" in log.read_text(), "the wait")
        own_clickhouse.start()
        eventually(lambda: "Postback listens on" in log.read_text(), "the start")
        assert HTTP.get(f"http://127.0.0.1:{port}/readyz").json() == {"status": "ok"}
        server.terminate()
    assert PASSWORD not in log.read_text()
    assert "urllib3" not in log.read_text()


def test_the_password_may_be_in_a_file(
    start_own_server: StartServer, clickhouse: ClickHouseServer, tmp_path: Path
) -> None:
    url = clickhouse.new_database()
    escaped = url.partition("@")[0].rpartition(":")[2]
    (tmp_path / "password").write_text(f"{PASSWORD}\n")

    server = start_own_server(events=url.replace(f":{escaped}@", "@"), events_password_file=tmp_path / "password")

    assert PASSWORD not in server.log.read_text()
    assert PASSWORD.encode() not in Path(f"/proc/{server.process.pid}/cmdline").read_bytes()


def test_a_statement_takes_more_than_http_takes_beside_it(clickhouse: ClickHouseServer, tmp_path: Path) -> None:
    ids = [f"it's \\\\ {number:060d} é\n" for number in range(10_000)]
    moments = list(range(2**40, 2**40 + 10_000))
    with closing(EventStore.open(clickhouse.new_database(), tmp_path)) as events:
        asked = "SELECT {ids:Array(String)}, {moments:Array(Int64)}, {name:String}"
        statement, beside = event_engine.fitted(events.deriver, asked, {"ids": ids, "moments": moments, "name": "x"})
        [[*read, name]] = events.deriver.query(statement, parameters=beside).result_rows

    assert list(beside) == ["name"]
    assert [list(values) for values in read] == [ids, moments]
    assert name == "x"


def test_connections_are_encrypted_and_the_certificate_is_checked(clickhouse: ClickHouseServer, tmp_path: Path) -> None:
    certificate, key = self_signed("localhost")
    (tmp_path / "ca.pem").write_bytes(certificate)
    (tmp_path / "both.pem").write_bytes(certificate + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both.pem")
    proxy = FaultProxy(free_port(), clickhouse.port, context)  # the tests' ClickHouse speaks no TLS itself
    url = clickhouse.new_database(port=proxy.port).replace("clickhouse://", "clickhouses://")
    url = url.replace("127.0.0.1", "localhost")
    with closing(proxy):
        with closing(EventStore.open(f"{url}?ca_cert={tmp_path / 'ca.pem'}", tmp_path)) as events:
            assert events.ping()
            assert events.count("event") == 0
        assert "certificate verify failed" in refusal(url, tmp_path)
        other_name = url.replace("localhost", "127.0.0.1")
        told = refusal(f"{other_name}?ca_cert={tmp_path / 'ca.pem'}", tmp_path)
        assert "not valid for '127.0.0.1'" in told
        assert "No such file" in refusal(f"{url}?ca_cert={tmp_path / 'nothing.pem'}", tmp_path)


def self_signed(*names: str) -> tuple[bytes, bytes]:
    """A certificate and its key, for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([*map(x509.DNSName, names)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(pem), private
