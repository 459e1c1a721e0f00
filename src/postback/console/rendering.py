"""Pages as HTML: Jinja2's templates over a page's struct, and as JSON: the same struct."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined

from postback.console.chart import plot
from postback.console.page import Once, Page, Visit
from postback.console.static_files import StaticFiles
from postback.protocol.currencies import shown_amount

__all__ = ["Renderer", "Section"]


class Section(msgspec.Struct, frozen=True):
    """An entry of the navigation."""

    name: str
    path: str


class Renderer:
    """Makes HTML. A value that a template lacks is an error, and every value is escaped.

    Args:
        sections: The navigation.
        static: The stylesheet and scripts.
    """

    def __init__(self, sections: Sequence[Section], static: StaticFiles) -> None:
        self._environment = Environment(
            loader=PackageLoader("postback.console"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.globals.update(sections=sections, static=static, plot=plot)
        for made in (ago, clock, day, full_time, minute, moment, part, rfc3339, span):
            self._environment.filters[made.__name__] = made
        self._environment.filters["amount"] = shown_amount

    def page(self, page: Page | Once, visit: Visit, model: msgspec.Struct) -> str:
        """A whole page."""
        return self._environment.get_template(page.template).render(self._context(page, visit, model))

    def block(self, page: Page, block: str, visit: Visit, model: msgspec.Struct) -> str:
        """One block of a page's template, for a stream that sends parts of the page.

        What the template sets or defines outside of its blocks is missing in it.
        """
        template = self._environment.get_template(page.template)
        return "".join(template.blocks[block](template.new_context(self._context(page, visit, model))))

    def template(self, name: str, **values: Any) -> str:
        """A template of something that isn't a page of somebody who has signed in."""
        return self._environment.get_template(name).render(values)

    def _context(self, page: Page | Once, visit: Visit, model: msgspec.Struct) -> dict[str, Any]:
        macros = self._environment.get_template("macros.html").make_module({"visit": visit})
        return {"page": page, "section": page.section, "visit": visit, "model": model, "ui": macros}


def part(text: str) -> str:
    """A text as one part of a path, for example an event_id."""
    return quote(text, safe="")


def rfc3339(time: datetime) -> str:
    """A time in UTC, as in JSON."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def moment(text: str) -> datetime:
    """A time as it is in JSON."""
    return datetime.fromisoformat(text)


def day(time: datetime) -> str:
    """A day in UTC, as ``1 Jul 2026``."""
    return f"{time.astimezone(UTC):%-d %b %Y}"


def minute(time: datetime) -> str:
    """A time in UTC to the second, as ``1 Jul 2026 09:30:05``."""
    return f"{time.astimezone(UTC):%-d %b %Y %H:%M:%S}"


def clock(time: datetime) -> str:
    """The time of the day in UTC, to the second."""
    return f"{time.astimezone(UTC):%H:%M:%S}"


def full_time(time: datetime) -> str:
    """A time in full, to the millisecond."""
    return f"{time.astimezone(UTC):%A, %-d %B %Y, %H:%M:%S.%f}"[:-3] + " UTC"


def span(seconds: float) -> str:
    """A span of time in its largest unit, as ``4.5 min``."""
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds / size:.1f}".removesuffix(".0") + f" {unit}"
    return "less than 2 s"


_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (2, "s"))


def ago(time: datetime, now: datetime) -> str:
    """How long before or after ``now`` a time is, in its largest unit: ``3 min ago``, ``in 2 d``."""
    seconds = (now - time) // timedelta(seconds=1)
    for size, unit in _UNITS:
        if abs(seconds) >= size:
            count = abs(seconds) // (size if unit != "s" else 1)
            return f"{count} {unit} ago" if seconds > 0 else f"in {count} {unit}"
    return "now"
