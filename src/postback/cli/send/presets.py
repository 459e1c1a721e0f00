"""Mappings of the exports of shops whose columns are documented publicly: docs/how-to/send-a-csv.md names the pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from postback.cli.send.mapping import ColumnMapping
from postback.errors import StartupError

__all__ = ["PRESETS", "Preset"]


@dataclass(frozen=True, slots=True)
class Preset:
    """An export.

    Attributes:
        export: Where it comes from, for messages.
        mapping: Its columns.
        other_names: Column → what another version of the export calls it.
        needs: What it doesn't have and the user has to say: ``timezone``, or a field.
    """

    export: str
    mapping: ColumnMapping
    other_names: dict[str, str] = field(default_factory=dict)
    needs: Sequence[str] = ()

    def for_columns(self, columns: Sequence[str]) -> ColumnMapping:
        """The mapping for a file with these columns; without those that the export may lack.

        Raises:
            StartupError: It lacks one that every event needs.
        """
        known = set(columns)

        def found(column: str) -> str | None:
            return next((name for name in (column, self.other_names.get(column)) if name in known), None)

        mapped = {field: found(column) for field, column in self.mapping.map.items()}
        for needed in ("event_id", "event_time"):
            if mapped[needed] is None:
                raise StartupError(
                    f"The file has no column {self.mapping.map[needed]!r}, which {self.export} has. Check the "
                    "export, or name the columns with --map instead of --preset."
                )
        return msgspec.structs.replace(
            self.mapping,
            map={field: column for field, column in mapped.items() if column},
            hash={kind: name for kind, each in self.mapping.hash.items() if (name := found(each))},
            where={name: values for each, values in self.mapping.where.items() if (name := found(each))},
        )


PRESETS: dict[str, Preset] = {
    "shopify": Preset(
        export="Shopify's export of orders",
        mapping=ColumnMapping(
            map={
                "event_id": "Name",
                "event_time": "Created at",
                "custom_data.value": "Total",
                "custom_data.currency": "Currency",
                "custom_data.order_id": "Name",
            },
            set={"event_type": "purchase"},
            hash={"email": "Email", "phone": "Phone"},
            where={"Financial Status": ["paid", "partially_paid", "partially_refunded", "refunded"]},
            one_per="Name",
            decimal=".",
        ),
    ),
    "woocommerce": Preset(
        export="the order export of WooCommerce's Import Export Suite",
        mapping=ColumnMapping(
            map={
                "event_id": "order_number",
                "event_time": "order_date",
                "custom_data.value": "order_total",
                "custom_data.currency": "order_currency",
                "custom_data.order_id": "order_number",
            },
            set={"event_type": "purchase"},
            hash={"email": "customer_email", "phone": "billing_phone"},
            where={"status": ["processing", "completed", "refunded", "wc-processing", "wc-completed", "wc-refunded"]},
            one_per="order_number",
            time_format=["%m/%d/%Y %H:%M:%S"],
            decimal=".",
        ),
        other_names={"customer_email": "billing_email", "order_number": "order_id"},
        needs=("timezone",),
    ),
    "magento": Preset(
        export="the export of the order grid of Magento and Adobe Commerce",
        mapping=ColumnMapping(
            map={
                "event_id": "ID",
                "event_time": "Purchase Date",
                "custom_data.value": "Grand Total (Purchased)",
                "custom_data.order_id": "ID",
            },
            set={"event_type": "purchase"},
            hash={"email": "Customer Email"},
            where={"Status": ["processing", "complete", "closed"]},
            time_format=["%b %d, %Y %I:%M:%S %p", "%b %d, %Y %H:%M:%S %p"],
            decimal=".",
        ),
        needs=("timezone", "custom_data.currency"),
    ),
    "stripe": Preset(
        export="Stripe's export of payments",
        mapping=ColumnMapping(
            map={
                "event_id": "id",
                "event_time": "Created date (UTC)",
                "custom_data.value": "Amount",
                "custom_data.currency": "Currency",
                "custom_data.order_id": "id",
            },
            set={"event_type": "purchase"},
            hash={"email": "Customer Email"},
            where={"Status": ["Paid", "Refunded", "Partially refunded", "succeeded"]},
            timezone="UTC",
            time_format=["%Y-%m-%d %H:%M"],
            decimal=".",
        ),
        other_names={"Created date (UTC)": "Created (UTC)"},
    ),
}
"""By the name that --preset takes."""
