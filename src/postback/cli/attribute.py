"""postback attribute: bring attribution up to date, or derive it anew, while the server is stopped."""

from __future__ import annotations

import os
import time

import click

from postback.attribution.runner import Attribution
from postback.cli.control import data_option
from postback.config import load_settings
from postback.media_buys.buys import MediaBuyStore
from postback.store.control import ControlStore
from postback.store.datadir import DataDir
from postback.store.events import EventStore

__all__ = ["attribute"]


@click.command()
@click.option("--rebuild", is_flag=True, help="Drop what was derived, and derive it from the stored events anew.")
@data_option
def attribute(rebuild: bool, data: str | None) -> None:
    """Attribute what is stored, while the server is stopped. A running server does so by itself."""
    settings = load_settings(os.environ, data=data)
    folder = DataDir.open(settings.data)
    begun = time.monotonic()
    try:
        control = ControlStore(settings.control or folder.control_url)
        control.migrate()
        events = EventStore.open(folder.events_dsn, folder.scratch)
        try:
            attribution = Attribution(events, control, MediaBuyStore(control))
            if rebuild:
                attribution.rebuild()
            else:
                attribution.catch_up()
            processed, attributed = events.query("attributed")[0]
        finally:
            events.close()
            control.close()
    finally:
        folder.close()
    click.echo(
        f"{attributed:,} of the {processed:,} events that goals name are attributed ({time.monotonic() - begun:.1f} s)."
    )
