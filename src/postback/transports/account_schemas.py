"""JSON schemas of the tasks about accounts. They describe; the tasks do the checking."""

from __future__ import annotations

from typing import get_args

from postback.protocol.enums import PAYMENT_TERMS, AccountStatus, BillingParty
from postback.transports.shapes import (
    ACCOUNT,
    ANSWER,
    ENVELOPE,
    ERROR,
    IDEMPOTENCY_KEY,
    KEY_EXAMPLE,
    PAGE,
    PAGINATION,
    PINNED,
    Schema,
    TaskSchema,
    array,
    domain,
    object_of,
    text,
)

__all__ = ["ACCOUNT_SCHEMAS"]

_BRAND = object_of({"domain": text("Domain of the brand.")}, "domain")
_STATUS: Schema = {"enum": list(get_args(AccountStatus))}
_SHOWN: dict[str, Schema] = {
    "account_id": text("The seller's identifier."),
    "name": text("For people."),
    "status": _STATUS,
    "brand": _BRAND,
    "operator": text("Domain of whoever acts for the brand."),
    "billing": {"enum": list(get_args(BillingParty))},
    "payment_terms": {"enum": list(PAYMENT_TERMS)},
    "setup": object_of({"message": text("What is still needed.")}, "message"),
    "sandbox": {"type": "boolean"},
}

ACCOUNT_SCHEMAS: dict[str, TaskSchema] = {
    "list_accounts": TaskSchema(
        "List accounts",
        "List the accounts that your API key acts for, with their status. Changes nothing.",
        object_of(
            ENVELOPE
            | {
                "account": ACCOUNT,
                "status": _STATUS,
                "sandbox": {"type": "boolean", "description": "Only sandboxes, or only others."},
                "pagination": PAGINATION,
            }
        ),
        object_of(
            ANSWER
            | {
                "accounts": array(object_of(_SHOWN, "account_id", "name", "status"), "By account_id."),
                "pagination": PAGE,
            },
            "accounts",
            "pagination",
        ),
        {},
        read_only=True,
    ),
    "sync_accounts": TaskSchema(
        "Sync accounts",
        "Set up the accounts that you act for, each by its brand and operator. A new account can be used once the "
        "seller has approved it, a sandbox at once. Each entry is judged alone: read its action and errors.",
        object_of(
            ENVELOPE
            | {
                "idempotency_key": IDEMPOTENCY_KEY,
                "accounts": array(
                    object_of(
                        {
                            "brand": object_of({"domain": domain("Domain of the brand.")}, "domain"),
                            "operator": domain("Domain of whoever acts for the brand."),
                            "billing": {
                                "enum": list(get_args(BillingParty)),
                                "description": "Who is invoiced; only operator is supported.",
                            },
                            "payment_terms": text("Kept, and shown again.", enum=list(PAYMENT_TERMS)),
                            "sandbox": {"type": "boolean", "default": False},
                            "account": ACCOUNT,
                        },
                    ),
                    "The accounts: a brand, operator and billing each, or an account to change.",
                    maxItems=1_000,
                ),
                "delete_missing": {
                    "type": "boolean",
                    "default": False,
                    "description": "Close the accounts that you set up and don't list.",
                },
                "dry_run": {"type": "boolean", "default": False, "description": "Change nothing."},
            },
            "accounts",
            **PINNED,
        ),
        object_of(
            ANSWER
            | {
                "accounts": array(
                    object_of(
                        _SHOWN
                        | {
                            "action": {"enum": ["created", "updated", "unchanged", "failed"]},
                            "errors": array(ERROR, "Why it failed."),
                            "warnings": array({"type": "string"}, "What was passed over."),
                        },
                        "action",
                        "status",
                    ),
                    "One for each entry, in their order, then those that were closed.",
                ),
                "dry_run": {"type": "boolean"},
            },
            "accounts",
        ),
        {
            "idempotency_key": KEY_EXAMPLE,
            "accounts": [{"brand": {"domain": "acme.example"}, "operator": "agency.example", "billing": "operator"}],
        },
        read_only=False,
    ),
}
