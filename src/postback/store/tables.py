"""The tables of the control store, as of the newest migration. Times are whole seconds since the epoch."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    TypeDecorator,
)
from sqlalchemy.engine import Dialect

__all__ = [
    "JSON_CODEC",
    "METADATA",
    "account",
    "api_key",
    "api_key_account",
    "attribution_state",
    "commit_count",
    "console_key",
    "console_session",
    "event_source",
    "finality_request",
    "forward",
    "idempotency",
    "installation",
    "lease",
    "media_buy",
    "node",
    "placement",
    "running_time",
    "shard",
    "signature_nonce",
    "simulation",
    "source_signal",
    "source_watch",
]

METADATA = MetaData()


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


JSON_CODEC: dict[str, Any] = {"json_serializer": _json, "json_deserializer": msgspec.json.decode}
"""How an engine writes and reads JSON columns; Python's own way takes several times as long."""


class Text(TypeDecorator[str]):
    """Text that callers may search for. PostgreSQL rejects NUL, so it becomes U+FFFD, which matches nothing."""

    impl = sqlalchemy.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """The value that is sent to the database."""
        return value and value.replace("\0", "\ufffd")


account = Table(
    "account",
    METADATA,
    Column("account_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("brand_domain", Text),
    Column("operator", Text),
    Column("sandbox", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("status", Text, nullable=False, server_default="active"),
    Column("billing", Text),
    Column("payment_terms", Text),
    Column("provisioned_by", Text),
    Column("closed_from", Text),
    Index("account_natural_key", "brand_domain", "operator"),
)

api_key = Table(
    "api_key",
    METADATA,
    Column("key_id", Text, primary_key=True),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    Column("scope", Text, nullable=False, server_default="buyer"),
)

api_key_account = Table(
    "api_key_account",
    METADATA,
    Column("key_id", Text, ForeignKey("api_key.key_id"), primary_key=True),
    Column("account_id", Text, ForeignKey("account.account_id"), primary_key=True),
)

console_key = Table(
    "console_key",
    METADATA,
    Column("key_id", Text, primary_key=True),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
)

# digest: of the token in the browser; key_id: the API key or console key that opened the session.
console_session = Table(
    "console_session",
    METADATA,
    Column("digest", LargeBinary, primary_key=True),
    Column("key_id", Text, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)

event_source = Table(
    "event_source",
    METADATA,
    Column("account_id", Text, ForeignKey("account.account_id"), primary_key=True),
    Column("event_source_id", Text, primary_key=True),
    Column("seller_id", Text, nullable=False, unique=True),
    Column("managed_by", Text, nullable=False),
    Column("name", Text),
    Column("event_types", JSON(none_as_null=True)),
    Column("value_currencies", JSON(none_as_null=True)),
    Column("action_source", Text),
    Column("allowed_domains", JSON(none_as_null=True)),
    Column("surface", JSON(none_as_null=True)),
    Column("max_event_age_days", Integer),
    Column("tag", JSON(none_as_null=True)),
    Column("archived", Boolean, nullable=False),
    Column("archived_at", BigInteger),
    Column("restored_at", BigInteger),
)

# What is wrong with a source: kind is offline, failure_rate or match_rate. Rows are deleted when it is well again.
source_signal = Table(
    "source_signal",
    METADATA,
    Column("account_id", Text, ForeignKey("account.account_id"), primary_key=True),
    Column("event_source_id", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("signal_id", Text, nullable=False),
    Column("observed_at", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("status_before", Text),
)

# One row: since when a server has been there to receive events without a break, and when one was last seen there.
source_watch = Table(
    "source_watch",
    METADATA,
    Column("since", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
)

idempotency = Table(
    "idempotency",
    METADATA,
    Column("idempotency_key", Text, primary_key=True),
    Column("key_id", Text, primary_key=True),
    Column("account_id", Text, primary_key=True),
    Column("task", Text, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
)

# What buyers simulated in a sandbox: products by product_id, and the delivery of media buys.
simulation = Table(
    "simulation",
    METADATA,
    Column("kind", Text, primary_key=True),
    Column("account_id", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("document", JSON, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

# change: a counter of the changes to an account's media buys; document: the fields that nothing is looked up by.
media_buy = Table(
    "media_buy",
    METADATA,
    Column("account_id", Text, ForeignKey("account.account_id"), primary_key=True),
    Column("media_buy_id", Text, primary_key=True),
    Column("currency", Text, nullable=False),
    Column("start_at", BigInteger, nullable=False),
    Column("end_at", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("paused", Boolean, nullable=False),
    Column("canceled_at", BigInteger),
    Column("revision", Integer, nullable=False),
    Column("change", BigInteger, nullable=False),
    Column("document", JSON, nullable=False),
    Index("media_buy_newest", "account_id", "created_at"),
    Index("media_buy_change", "account_id", "change"),
)

# events: how many there are in the encrypted request; key_id: the API key of the call that sent them; leased_until: by
# the database's clock, until then one of several servers is sending it.
forward = Table(
    "forward",
    METADATA,
    Column("delivery_id", Text, primary_key=True),
    Column("destination", Text, nullable=False),
    Column("account_id", Text, nullable=False),
    Column("event_source_id", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("events", Integer, nullable=False),
    Column("encrypted", LargeBinary, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("error", Text),
    Column("dead", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("next_attempt_at", BigInteger, nullable=False),
    Column("leased_until", BigInteger),
    Index("forward_due", "destination", "dead", "next_attempt_at"),
)

# Packages whose numbers a server that attributes is to make final, once it has come to received_through, in µs.
finality_request = Table(
    "finality_request",
    METADATA,
    Column("account_id", Text, primary_key=True),
    Column("media_buy_id", Text, primary_key=True),
    Column("package_id", Text, primary_key=True),
    Column("received_through", BigInteger, nullable=False),
)

attribution_state = Table(
    "attribution_state",
    METADATA,
    Column("account_id", Text, primary_key=True),
    Column("document", JSON, nullable=False),
)

# One row: which secret, which event store and which kind of server belong to these control data.
# complete: whether the event store has the same; rotation: how often the secret was replaced; moved_to: the place to
# which the installation is being moved, or has.
installation = Table(
    "installation",
    METADATA,
    Column("installation_id", Text, primary_key=True),
    Column("secret_check", Text, nullable=False),
    Column("sandbox", Boolean, nullable=False),
    Column("rotation", Integer, nullable=False),
    Column("complete", Boolean, nullable=False),
    Column("moved_to", Text),
)

# The shards of the event store; without a row the first takes accounts. url: without user and password; empty for the
# first, which POSTBACK_EVENTS names; draining: whether it takes no more accounts.
shard = Table(
    "shard",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("url", Text, nullable=False),
    Column("draining", Boolean, nullable=False),
)

# Which shard has the events of an account; without a row it is the first. version: rises with every step of an account
# that moves, whichever account it is; phase: how far it has come, null when it is not on its way; other: the shard to
# which it moves, or where it has left rows.
placement = Table(
    "placement",
    METADATA,
    Column("account_id", Text, ForeignKey("account.account_id"), primary_key=True),
    Column("shard", Integer, nullable=False),
    Column("version", BigInteger, nullable=False, server_default="0", index=True),
    Column("phase", Text),
    Column("other", Integer),
)

# The servers that share these data. process: the one that is the node now; stored_through: in µs since the epoch, null
# for one that was stopped and has stored all; by_shard: the same by the number of the shard, where there are several;
# seen_at: by the database's clock; placements: the version of placement that it goes by.
node = Table(
    "node",
    METADATA,
    Column("node_id", Text, primary_key=True),
    Column("number", Integer, nullable=False, unique=True),
    Column("process", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("stored_through", BigInteger),
    Column("by_shard", JSON(none_as_null=True)),
    Column("seen_at", BigInteger, nullable=False),
    Column("role", Text, nullable=False, server_default="all"),
    Column("placements", BigInteger, nullable=False, server_default="0"),
)

# What one of these servers works on alone. number: rises with every holder; held_until: by the database's clock.
lease = Table(
    "lease",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("held_until", BigInteger, nullable=False),
    Column("progress", BigInteger),
)

# The nonces of signed requests that one of these servers has accepted. expires_at: by the database's clock.
signature_nonce = Table(
    "signature_nonce",
    METADATA,
    Column("digest", LargeBinary, primary_key=True),
    Column("expires_at", BigInteger, nullable=False, index=True),
)

# One row: how many transactions have written to these control data.
commit_count = Table("commit_count", METADATA, Column("commits", BigInteger, nullable=False))

# One row: how long servers have run, as of the wall clock when the store was made, and when one was last seen running.
running_time = Table(
    "running_time",
    METADATA,
    Column("seconds", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
)
