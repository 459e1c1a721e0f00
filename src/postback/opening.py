"""What lasts is opened in order: the data folder, the stores, attribution of what they hold, and the ingest log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import NamedTuple

from postback.attribution.by_shard import ShardAttributions
from postback.attribution.retention import Retention
from postback.attribution.runner import Attribution
from postback.clock import LASTING_SECONDS, Clock
from postback.config import Settings
from postback.forwarding.forwarding import Forwarding
from postback.media_buys.store import MediaBuyStore
from postback.metrics import Metrics
from postback.resources import Resources
from postback.store.backlogs import Backlogs
from postback.store.control_store import ControlStore
from postback.store.data_folder import DataDir
from postback.store.disk_room import DiskRoom
from postback.store.event_store import EventStore
from postback.store.fingerprint import log_owner
from postback.store.flusher import Flusher
from postback.store.idempotency import IdempotencyStore
from postback.store.ingest_log import IngestLog
from postback.store.installation import open_control_store
from postback.store.leases import Lease
from postback.store.log_segments import LogSegments
from postback.store.nodes import Node
from postback.store.receipt_times import ReceiptTimes
from postback.store.running_time import RunningTime
from postback.store.shards import Shards, open_shards
from postback.telemetry import Telemetry
from postback.threads import Threads

__all__ = ["OpenedLog", "Stores", "open_attribution", "open_log", "open_stores"]

_PATIENCE_SECONDS = 60.0
"""How long a start waits for ClickHouse, which may start beside it; then it fails, as whoever supervises it sees."""

_log = logging.getLogger(__name__)


class Stores(NamedTuple):
    """The stores of an installation.

    Attributes:
        folder: The data folder.
        control: The control store.
        running_time: How long servers have run.
        shards: The event stores.
        node: This server's place among those that share the stores; None where there can't be others.
    """

    folder: DataDir
    control: ControlStore
    running_time: RunningTime
    shards: Shards
    node: Node | None


class OpenedLog(NamedTuple):
    """The ingest log, recovered, and whether nothing was ever received, here or elsewhere."""

    log: IngestLog
    empty: bool


def open_stores(settings: Settings, resources: Resources, clock: Clock) -> Stores:
    """Open the stores that ``settings`` names; ``resources`` closes them.

    Raises:
        StartupError: One of them can't be used, or belongs to another installation.
    """
    folder = DataDir.open(settings.data, settings.secret)
    resources.closing("data folder", folder.close)
    control = open_control_store(folder, settings.control, settings.events)
    resources.closing("control store", control.close)
    running_time = RunningTime(control, clock)
    shards = open_shards(
        folder, control, settings.events, sandbox=settings.sandbox, clock=clock, patience=_PATIENCE_SECONDS
    )
    resources.closing("event store", shards.close)
    node = Node.joined(control, folder, shards, settings.role)
    _warn_of_receipt_times(shards.receipt_times)
    return Stores(folder, control, running_time, shards, node)


def open_attribution(
    stores: Stores,
    media_buys: MediaBuyStore,
    metrics: Metrics,
    retain: Callable[[EventStore, Attribution], Retention] | None,
    resources: Resources,
) -> ShardAttributions:
    """Attribution on every shard; ``retain`` makes what drops old payloads, if any are dropped."""
    shards = stores.shards

    def of_shard(events: EventStore, lease: Lease) -> Attribution:
        return Attribution(
            events,
            stores.control,
            media_buys,
            stores.folder.derived,
            metrics=metrics,
            lease=lease,
            mine=partial(shards.has, events),
            stands_still=partial(shards.stands_still, events.number),
        )

    attribution = ShardAttributions(shards, stores.control, of_shard, retain)
    resources.closing("retention", attribution.close)
    resources.closing("leases of attribution", attribution.release)  # when its threads have ended
    return attribution


def open_log(
    stores: Stores,
    settings: Settings,
    attribution: ShardAttributions,
    idempotency: IdempotencyStore,
    forwarding: Forwarding,
    room: DiskRoom,
    threads: Threads,
    metrics: Metrics,
    telemetry: Telemetry | None,
    resources: Resources,
) -> OpenedLog:
    """Open the ingest log, with the responses in it known again and whatever an earlier process left ready to flush.

    Raises:
        StartupError: It can't be read, is damaged, or belongs to another installation.
    """
    folder, control, _, shards, node = stores
    segments = LogSegments(folder.log, shards.receipt_times, log_owner(control))
    log_kind, flusher_kind = _kinds_of_log(telemetry)
    flusher = flusher_kind(segments, shards, control, folder.quarantine, metrics)
    if node:
        resources.closing("node", partial(_leave, node, segments, flusher.backlogs, shards))  # when the log has stopped
    for answer in segments.recover():
        idempotency.logged(answer)
    flusher.recover()
    if node:
        attribution.follow_placements(flusher.follow_placements, node)
    log = log_kind(
        segments,
        flusher,
        idempotency,
        settings.queue_events,
        metrics,
        threads.log,
        threads.inserts,
        forwarding.wake,
        room.check,
        threads.backlogs,
    )
    resources.closing("ingest log", log.stop)
    metrics.held_up(lambda: log.held_up or bool(log.behind))
    empty = not (node or segments.sealed or flusher.backlogs.rows or shards.away or shards.last_received_at())
    return OpenedLog(log, empty)


def _warn_of_receipt_times(times: ReceiptTimes) -> None:
    if times.ahead() > LASTING_SECONDS:
        _log.error(
            "The last events were received %s ahead of the clock: it was wrong then, or it is now. Receipt times go on "
            "after the last one, since their order must not change, until the clock has caught up.",
            timedelta(seconds=int(times.ahead())),
        )


def _kinds_of_log(telemetry: Telemetry | None) -> tuple[Callable[..., IngestLog], Callable[..., Flusher]]:
    """The ingest log and its flusher; with spans, if they are wanted."""
    if telemetry is None:
        return IngestLog, Flusher
    from postback.store.traced_log import TracedFlusher, TracedIngestLog

    return partial(TracedIngestLog, telemetry=telemetry), partial(TracedFlusher, telemetry=telemetry)


def _leave(node: Node, segments: LogSegments, backlogs: Backlogs, shards: Shards) -> None:
    if segments.sealed or segments.unsealed:
        return
    if behind := backlogs.behind():  # nobody waits for this server but for what only these shards lack
        through = shards.stored_through()
        node.publish({number: through[number] if number in behind else None for number in through})
    else:
        node.leave()
