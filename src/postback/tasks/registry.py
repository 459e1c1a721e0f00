"""Every task that a server offers, by name."""

from __future__ import annotations

from postback.protocol.release_features import needs_key
from postback.protocol.releases import Release
from postback.tasks.click_links import CLICK_LINKS
from postback.tasks.comply_test_controller import COMPLY_TEST_CONTROLLER
from postback.tasks.create_media_buy import CREATE_MEDIA_BUY
from postback.tasks.get_adcp_capabilities import GET_ADCP_CAPABILITIES
from postback.tasks.get_media_buy_delivery import GET_MEDIA_BUY_DELIVERY
from postback.tasks.get_media_buys import GET_MEDIA_BUYS
from postback.tasks.get_products import GET_PRODUCTS
from postback.tasks.list_accounts import LIST_ACCOUNTS
from postback.tasks.log_event import LOG_EVENT
from postback.tasks.log_exposures import LOG_EXPOSURES
from postback.tasks.report_delivery import REPORT_DELIVERY
from postback.tasks.sync_accounts import SYNC_ACCOUNTS
from postback.tasks.sync_event_sources import SYNC_EVENT_SOURCES
from postback.tasks.task import Task
from postback.tasks.update_media_buy import UPDATE_MEDIA_BUY

__all__ = ["SELLER_TASKS", "TASKS", "key_required", "offered"]

_TASKS = (
    GET_ADCP_CAPABILITIES,
    LIST_ACCOUNTS,
    SYNC_ACCOUNTS,
    SYNC_EVENT_SOURCES,
    LOG_EVENT,
    GET_PRODUCTS,
    CREATE_MEDIA_BUY,
    UPDATE_MEDIA_BUY,
    GET_MEDIA_BUY_DELIVERY,
    GET_MEDIA_BUYS,
    COMPLY_TEST_CONTROLLER,
)

TASKS: dict[str, Task] = {task.name: task for task in _TASKS}
"""Every AdCP task; ``offered`` says which of them a server offers."""

SELLER_TASKS: dict[str, Task] = {task.name: task for task in (LOG_EXPOSURES, REPORT_DELIVERY, CLICK_LINKS)}
"""What only sellers call, over REST; these are not AdCP's."""


def key_required(task: Task, release: Release | None) -> bool:
    """Whether a call needs an idempotency_key."""
    return task.key == "always" or (task.key == "when_pinned" and needs_key(release))


def offered(sandbox: bool) -> list[str]:
    """The names of the AdCP tasks that a server offers."""
    return [name for name, task in TASKS.items() if sandbox or not task.sandbox_only]
