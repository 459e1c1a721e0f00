"""Alerts: what went wrong or well again with an event source, for the operator's own systems.

```toml
[[alerts]]
name = "slack"
url = "env:SLACK_WEBHOOK"

[[alerts]]
name = "pager"
command = ["/usr/local/bin/page", "--team", "ads"]
```

An alert is JSON that Slack, and whatever is compatible with it, shows: ``text`` is for people, the rest for programs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from html import escape
from typing import Literal

import msgspec

from postback.event_sources.signals import SignalChange, SignalKind
from postback.event_sources.watch import sentence
from postback.forwarding.destination import Destination
from postback.forwarding.encryption import Encryptor
from postback.forwarding.outbox import Delivery
from postback.protocol.timestamps import rfc3339

__all__ = ["Alert", "alerts_of"]


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a request.

    Attributes:
        text: All of it in a sentence.
        account_id: The account of the event source.
        event_source_id: The event source.
        kind: What is wrong.
        change: Whether it began, is over, or the source was deleted meanwhile.
        signal_id: The same at the beginning and at the end; for "offline" it is the impairment_id of media buys.
        observed_at: When it began, RFC 3339.
        reason: What was noticed then.
    """

    text: str
    account_id: str
    event_source_id: str
    kind: SignalKind
    change: Literal["opened", "closed", "deleted"]
    signal_id: str
    observed_at: str
    reason: str


def alerts_of(
    encryptor: Encryptor, destinations: Sequence[Destination], changes: Sequence[SignalChange]
) -> Iterator[Delivery]:
    """A delivery for each change and destination; the same change has the same identifier."""
    for signal, what in changes:
        alert = Alert(
            text=escape(sentence(SignalChange(signal, what)), quote=False),  # else a name could be a link, or a mention
            account_id=signal.account_id,
            event_source_id=signal.event_source_id,
            kind=signal.kind,
            change=what,
            signal_id=signal.signal_id,
            observed_at=rfc3339(signal.observed_at),
            reason=signal.reason,
        )
        for destination in destinations:
            identity = "\n".join((destination.name, signal.signal_id, what))
            delivery_id = sha256(identity.encode()).hexdigest()[:32]
            encrypted = encryptor.encrypt(msgspec.json.encode(alert), delivery_id)
            yield Delivery(delivery_id, destination.name, signal.account_id, signal.event_source_id, "", 1, encrypted)
