"""A signature works once, on whichever of several servers it is sent to."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.clocks import Hands
from tests.unit.test_signatures import NOW, URL, jwk, keys_file, send

from postback.auth.signatures.keys import read_signing_keys
from postback.auth.signatures.shared_nonces import SharedNonces
from postback.auth.signatures.verifier import Signatures
from postback.store.control_store import ControlStore
from postback.threads import ThreadPool


@pytest.mark.anyio
async def test_a_request_that_is_repeated_to_another_server_is_refused(
    new_postgresql: Callable[[], str], tmp_path: Path
) -> None:
    keys = read_signing_keys(keys_file(tmp_path, jwk()), {"key_1"})
    hands, threads = Hands(NOW), ThreadPool("ingestion", 1)
    with closing(ControlStore(new_postgresql())) as control, closing(threads):
        control.migrate()
        shared = SharedNonces(control, threads)
        one, other = (Signatures(keys, URL, ["list_accounts"], threads, hands.clock, shared=shared) for _ in range(2))

        sent = [await send(server, nonce="the same nonce, again") for server in (one, other, other)]
        sent.append(await send(other, nonce="quite another nonce."))
        shared.purge()
        sent.append(await send(one, nonce="quite another nonce."))
        with control.begin() as connection:
            connection.execute(text("UPDATE signature_nonce SET expires_at = expires_at - 3600"))
        shared.purge()
        with control.connect() as connection:
            left = connection.scalar(text("SELECT count(*) FROM signature_nonce"))

    replayed = "request_signature_replayed"
    assert sent == ["verified", replayed, replayed, "verified", replayed]
    assert left == 0
