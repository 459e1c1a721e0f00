"""Fields that AdCP lets every seller ignore and that this server doesn't serve: accepted, and named in a warning.

A webhook's URL, token and credentials are never repeated.
"""

from __future__ import annotations

from collections.abc import Collection

__all__ = ["UNSERVED_FIELDS", "unserved_warnings"]

_OF_EVERY_TASK = {
    "push_notification_config": (
        "push_notification_config is not served: every call is answered at once, and no webhook is sent. Read the "
        "response instead."
    ),
}
_OF_A_BUY = (
    "push_notification_config is not served: the call is answered at once, and no webhook is sent, also not when the "
    "media buy is impaired. Read the response, and call get_media_buys for health and impairments."
)
_REPORTS = (
    "reporting_webhook is not served: reports are not pushed. Call get_media_buy_delivery as often as you need them."
)
_ARTIFACTS = "artifact_webhook is not served: no artifacts are pushed."
_DAYS = "is not served: days begin and end in UTC. Send start_date and end_date as UTC days."

_WEBHOOKS_OF_A_BUY = {
    "push_notification_config": _OF_A_BUY,
    "reporting_webhook": _REPORTS,
    "artifact_webhook": _ARTIFACTS,
}
_OF_TASK: dict[str, dict[str, str]] = {
    "create_media_buy": _WEBHOOKS_OF_A_BUY,
    "update_media_buy": _WEBHOOKS_OF_A_BUY,
    "get_media_buy_delivery": {
        "time_zone": f"time_zone {_DAYS}",
        "timezone": f"timezone {_DAYS}",
        "timeZone": f"timeZone {_DAYS}",
        "reporting_webhook": _REPORTS,
        "attribution_window": (
            "attribution_window is not served: conversions count within the windows of each package's goals, which the "
            "report shows. Change them with update_media_buy."
        ),
        "reporting_dimensions": (
            "reporting_dimensions is not served: by_package, by_event_type, by_action_source, by_creative and "
            "daily_breakdown are always reported."
        ),
    },
}


UNSERVED_FIELDS = frozenset(_OF_EVERY_TASK).union(*_OF_TASK.values())
"""Every field that some task doesn't serve."""


def unserved_warnings(task: str, fields: Collection[str]) -> list[str]:
    """A sentence for each field of a call that is not served.

    Args:
        task: The task's name.
        fields: The names of the call's fields whose value is not null.
    """
    known = _OF_EVERY_TASK | _OF_TASK.get(task, {})
    return [sentence for name, sentence in known.items() if name in fields]
