"""Identifiers as other platforms' conversion APIs name them, and the fields of AdCP that take their place."""

from __future__ import annotations

__all__ = ["ADCP_FIELDS"]

_NAMES = {
    "hashed_email": """
        em ems hem email emails email_address email_hash email_sha256 hashed_emails hashed_email_address sha256_email
        sha256_email_address email_address_sha256 user_email""",
    "hashed_phone": """
        ph phone phones phone_number phone_hash phone_sha256 hashed_phone_number hashed_phones sha256_phone
        sha256_phone_number user_phone""",
    "click_id": """
        fbc fbclid gclid gbraid wbraid dclid ttclid msclkid twclid li_fat_id epik sc_click_id sccid rdt_cid clickid
        yclid irclickid click_ids""",
    "uids": """
        external_id external_ids user_id customer_id client_id anonymous_id visitor_id uid uid2 euid id5 rampid pairid
        maid madid idfa gaid aaid advertising_id fbp""",
    "client_ip": "ip ip_address client_ip_address user_ip ip_addr",
    "client_user_agent": "ua user_agent useragent",
}

ADCP_FIELDS: dict[str, str] = {name: field for field, names in _NAMES.items() for name in names.split()}
"""Another platform's name, in lower case → AdCP's field."""
