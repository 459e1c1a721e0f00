"""postback attribute: bring attribution up to date, or rebuild it, while the server is stopped."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial

import click

from postback.attribution import comparison
from postback.attribution.by_shard import lease_of
from postback.attribution.comparison import PackageChange
from postback.attribution.retention import settled_before
from postback.attribution.runner import Attribution
from postback.cli.control import data_option
from postback.config import load_settings
from postback.delivery.figures import shown_number
from postback.media_buys.store import MediaBuyStore
from postback.store.data_folder import DataDir
from postback.store.flusher import drain
from postback.store.installation import open_control_store
from postback.store.shards import open_shards

__all__ = ["attribute"]


@click.command()
@click.option("--rebuild", is_flag=True, help="Delete all attributions, and derive them again from the stored events.")
@click.option("--compare", is_flag=True, help="Change nothing; print what the rules of this version would change.")
@data_option
def attribute(rebuild: bool, compare: bool, data: str | None) -> None:
    """Attribute the stored events while the server is stopped. A running server does so by itself."""
    if rebuild and compare:
        raise click.UsageError("--compare changes nothing, and --rebuild derives everything anew. Choose one.")
    settings = load_settings(os.environ, data=data)
    begun = time.monotonic()
    with ExitStack() as stack:
        folder = stack.enter_context(closing(DataDir.open(settings.data, settings.secret)))
        control = stack.enter_context(closing(open_control_store(folder, settings.control, settings.events)))
        shards = stack.enter_context(closing(open_shards(folder, control, settings.events)))
        shards.require_all()
        drain(folder, shards, control)
        media_buys = MediaBuyStore(control)
        if compare:
            changes = [change for events in shards for change in comparison.compare(events, media_buys, folder.scratch)]
            click.echo("\n".join(_lines_of(changes, media_buys)))
            return
        for events in shards:
            lease = lease_of(control, events.number)
            stack.callback(lease.release)
            if lease.take().number is not None:  # from now on no account comes to this shard, or leaves it
                shards.require_flowing()
            mine = partial(shards.has, events)
            attribution = Attribution(events, control, media_buys, folder.derived, lease=lease, mine=mine)
            if rebuild:
                attribution.rebuild()
            else:
                attribution.catch_up()
        processed, attributed = map(sum, zip(*(events.query("attributed")[0] for events in shards), strict=True))
        settled = min((before for events in shards if (before := settled_before(events))), default=None)
    click.echo(
        f"{attributed:,} of the {processed:,} events covered by goals are attributed "
        f"({time.monotonic() - begun:.1f} s)."
    )
    if rebuild and settled:
        click.echo(f"Results of events from before {settled:%Y-%m-%d} are settled and stayed.")


def _lines_of(changes: Sequence[PackageChange], media_buys: MediaBuyStore) -> Iterator[str]:
    """The lines of a comparison."""
    changed = [change for change in changes if change.changes]
    for change in changed:
        buy = media_buys.get(change.account_id, change.media_buy_id)
        conversions = f"conversions {change.conversions:,} -> {change.new_conversions:,}"
        value = f"value {shown_number(change.value):,} -> {shown_number(change.new_value):,}"
        currency = f" {buy.currency}" if buy else ""
        yield f"{change.account_id} {change.media_buy_id} {change.package_id}: {conversions}, {value}{currency}"
    yield (
        f"{len(changed):,} of {len(changes):,} packages with conversions would change. Events that are stored and not "
        "attributed yet are included. Nothing was changed: postback attribute or the next start of the server applies "
        "the rules."
    )
