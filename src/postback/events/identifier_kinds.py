"""The kinds of identifiers, by the numbers that match keys begin with."""

from __future__ import annotations

from postback.protocol.enums import UID_TYPES

__all__ = ["CLICK_ID", "EMAIL", "IP_AND_USER_AGENT", "KINDS", "PHONE", "UID_KINDS"]

KINDS: dict[int, str] = {
    1: "hashed_email",
    2: "hashed_phone",
    3: "click_id",
    4: "client_ip+client_user_agent",
    **{16 + number: f"uid:{uid_type}" for number, uid_type in enumerate(UID_TYPES) if uid_type != "hashed_email"},
}
"""First byte of a match key → kind of identifier. Numbers are stored: never reuse one."""

EMAIL, PHONE, CLICK_ID, IP_AND_USER_AGENT = 1, 2, 3, 4
UID_KINDS = {kind.removeprefix("uid:"): number for number, kind in KINDS.items()} | {"hashed_email": EMAIL}
