"""postback exposures reused: the exposure_ids that stand for several exposures, of which one counts."""

from __future__ import annotations

import os
from contextlib import closing

import click

from postback.cli.control import data_option
from postback.config import load_settings
from postback.store.data_folder import DataDir
from postback.store.installation import open_control_store
from postback.store.shards import open_shards

__all__ = ["reused"]


@click.command()
@data_option
def reused(data: str | None) -> None:
    """List exposure_ids that came with several kinds, media buys or packages, while the server is stopped.

    The first one counts. The exit status is 1 if there are any.
    """
    settings = load_settings(os.environ, data=data)
    with (
        closing(DataDir.open(settings.data, settings.secret)) as folder,
        closing(open_control_store(folder, settings.control, settings.events)) as control,
        closing(open_shards(folder, control, settings.events)) as shards,
    ):
        shards.require_all()
        found = [row for events in shards for row in events.query("reused_exposures")]
    for account_id, exposure_id, copies in found:
        (_, *first), *others = copies
        also = dict.fromkeys(_described(*other) for _, *other in others if other != first)
        click.echo(f"{account_id} {exposure_id}: counts as {_described(*first)}; also sent as {', '.join(also)}")
    click.echo(f"{len(found):,} exposure_ids stand for several exposures.", err=True)
    if found:
        raise SystemExit(1)


def _described(kind: str, media_buy_id: str, package_id: str) -> str:
    return f"{kind} of {media_buy_id} {package_id}"
