"""Orders that a batch counts more than once: one order_id under several event_ids."""

from __future__ import annotations

from postback.events.columns import AcceptedEvents
from postback.events.event_ids import names_an_order

__all__ = ["note_same_orders"]

_CODE = "SAME_ORDER_ID"


def note_same_orders(accepted: AcceptedEvents, warnings: dict[str, list[int]]) -> None:
    """Warn of events that share type and order_id under different event_ids. Several refunds of an order are normal.

    Args:
        accepted: The batch's accepted events; those concerned get the warning's code.
        warnings: Code → places in the batch; gets the same.
    """
    order_ids = accepted.order_ids
    if len(set(order_ids)) == len(order_ids):
        return
    named = [order_id for order_id in order_ids if order_id]
    if len(set(named)) == len(named):
        return
    same: dict[tuple[str, str], list[int]] = {}
    types = accepted.columns["event_type"]
    for position, order_id in enumerate(accepted.order_ids):
        if order_id and types[position] != "refund":
            same.setdefault((types[position], order_id), []).append(position)
    event_ids = accepted.columns["event_id"]
    for (_, order_id), positions in same.items():
        if len({event_ids[position] for position in positions}) > 1 and names_an_order(order_id):
            for position in positions:
                accepted.columns["warnings"][position].append(_CODE)
                warnings.setdefault(_CODE, []).append(accepted.indexes[position])
    if _CODE in warnings:
        warnings[_CODE].sort()
