"""Every error that Postback returns to a caller.

PostbackError
├── RequestError                 the caller can correct it
│   ├── InvalidRequest           a field violates its schema
│   ├── BatchTooLarge            more than 10,000 events
│   ├── InvalidPeriod            a reporting period that ends before it begins
│   ├── UnsupportedVersion       an AdCP release that this server does not support
│   ├── UnsupportedTask          a task that this server does not offer
│   ├── EventSourceNotFound      the event source does not exist or belongs to another account
│   ├── AccountNotFound          the account does not exist or the key has no access to it
│   ├── AccountRequired          the key has several accounts and the call names none
│   ├── AccountAmbiguous         several accounts have this event source
│   ├── AccountSetupRequired     the seller has not approved the account yet
│   ├── AccountPaymentRequired   the account has an outstanding balance
│   ├── AccountSuspended         the account is suspended, closed or rejected
│   ├── BillingNotSupported      a billing party that the seller does not invoice
│   ├── UnsupportedProvisioning  more fields of an account's identity than are supported
│   ├── ProductNotFound          the product does not exist
│   ├── InvalidPricingOption     the product does not have this pricing option
│   ├── BudgetTooLow             a budget below the pricing option's minimum
│   ├── MediaBuyNotFound         the media buy does not exist or belongs to another account
│   ├── TermsRejected            measurement terms other than the seller's
│   ├── PackageNotFound          the media buy does not have this package
│   ├── InvalidState             the media buy's status does not allow the action
│   ├── NotCancellable           the media buy is already canceled or completed
│   ├── RevisionConflict         the media buy changed since the caller read it
│   ├── ConflictingFields        fields that contradict each other
│   ├── UnsupportedField         a field that this server does not support
│   ├── CredentialInArguments    an API key or token in the body
│   ├── MediaBuyNotFinal         final numbers were requested too early
│   ├── UnsupportedGranularity   a report by other units of time than hours and days
│   ├── IdempotencyConflict      the idempotency key was used for another request
│   ├── BodyTooLarge             a body above the size limit
│   ├── NotFound                 the route or record does not exist (REST)
│   └── MethodNotAllowed         the route exists, the method does not (REST)
├── AuthError                    the caller is not authenticated or not authorized
│   ├── AuthMissing              no API key
│   ├── AuthInvalid              an unknown or revoked API key
│   ├── SignatureRefused         a missing or invalid request signature
│   ├── PermissionDenied         the API key lacks the scope
│   └── OriginNotAllowed         a script of a web page that may not call this server
└── TransientError               the same call may succeed later
    ├── RequestTimeout           a request that takes too long to arrive
    ├── RateLimitExceeded        too many calls or events with this API key
    ├── StoreUnavailable         the event store or control store does not accept writes
    ├── Overloaded               the queue to the event store is full
    └── InternalError            a defect of Postback; only the log has details

StartupError                     the server can't start; for the operator, never sent to a caller

A class has what a program needs: ``reason`` (stable in every AdCP release), ``status`` (the HTTP status over REST) and
``recovery`` (core/error.json). An instance adds the message and the field.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

Recovery = Literal["transient", "correctable", "terminal"]

__all__ = [
    "AccountAmbiguous",
    "AccountNotFound",
    "AccountPaymentRequired",
    "AccountRequired",
    "AccountSetupRequired",
    "AccountSuspended",
    "AuthError",
    "AuthInvalid",
    "AuthMissing",
    "BatchTooLarge",
    "BillingNotSupported",
    "BodyTooLarge",
    "BudgetTooLow",
    "ConflictingFields",
    "CredentialInArguments",
    "EventSourceNotFound",
    "IdempotencyConflict",
    "InternalError",
    "InvalidPeriod",
    "InvalidPricingOption",
    "InvalidRequest",
    "InvalidState",
    "MediaBuyNotFinal",
    "MediaBuyNotFound",
    "MethodNotAllowed",
    "NotCancellable",
    "NotFound",
    "OriginNotAllowed",
    "Overloaded",
    "PackageNotFound",
    "PermissionDenied",
    "PostbackError",
    "ProductNotFound",
    "RateLimitExceeded",
    "Recovery",
    "RequestError",
    "RequestTimeout",
    "RevisionConflict",
    "SignatureRefused",
    "StartupError",
    "StoreUnavailable",
    "TermsRejected",
    "TransientError",
    "UnsupportedField",
    "UnsupportedGranularity",
    "UnsupportedProvisioning",
    "UnsupportedTask",
    "UnsupportedVersion",
    "raise_all",
]


class StartupError(Exception):
    """The server can't start or a command can't run; the message says what to do in one sentence."""


class PostbackError(Exception):
    """An error that is returned to a caller.

    Attributes:
        message: What is wrong, in one sentence. It never contains an identifier, a secret or a stack trace.
        field: Path of the invalid field, for example ``events[17].event_time``, or None.
        suggestion: What to send instead.
        retry_after: Whole seconds to wait before the same call, for transient errors.
        details: More fields for a program, or None.
        also: The other errors of the same call.
    """

    reason: ClassVar[str]
    status: ClassVar[int]
    recovery: ClassVar[Recovery]
    default_suggestion: ClassVar[str]

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        suggestion: str | None = None,
        retry_after: int | None = None,
        details: dict[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.suggestion = suggestion or self.default_suggestion
        self.retry_after = retry_after
        self.details = details
        self.also: Sequence[PostbackError] = ()


class RequestError(PostbackError):
    status: ClassVar[int] = 200  # a well-formed call was answered; see docs/reference/codes.md
    recovery: ClassVar[Recovery] = "correctable"


class InvalidRequest(RequestError):
    reason = "INVALID_REQUEST"
    status = 400
    default_suggestion = "Correct the named field and send the call again."


class BatchTooLarge(RequestError):
    reason = "BATCH_TOO_LARGE"
    status = 400
    default_suggestion = "Split the events into batches of at most 10,000."


class InvalidPeriod(RequestError):
    reason = "INVALID_PERIOD"
    status = 400
    default_suggestion = "Send an end_date after the start_date, or omit one of them."


class UnsupportedVersion(RequestError):
    reason = "VERSION_UNSUPPORTED"
    status = 400
    default_suggestion = "Pin one of the releases that get_adcp_capabilities lists in adcp.supported_versions."


class UnsupportedTask(RequestError):
    reason = "UNSUPPORTED_FEATURE"
    status = 404
    default_suggestion = "Call one of the tasks listed in details.supported_tasks."


class EventSourceNotFound(RequestError):
    reason = "EVENT_SOURCE_NOT_FOUND"
    status = 404
    default_suggestion = "Run sync_event_sources first, and use one of the event_source_id values that it returns."


class AccountNotFound(RequestError):
    reason = "ACCOUNT_NOT_FOUND"
    recovery = "terminal"  # AdCP's classification: an agent can't give itself an account
    default_suggestion = "Use an account that list_accounts returns for your API key."


class AccountRequired(RequestError):
    reason = "ACCOUNT_REQUIRED"
    default_suggestion = 'Name the account: "account": {"account_id": "..."}.'


class AccountAmbiguous(RequestError):
    reason = "ACCOUNT_AMBIGUOUS"
    default_suggestion = 'Add "account": {"account_id": "..."}, or use the seller_id that sync_event_sources returned.'


class AccountSetupRequired(RequestError):
    reason = "ACCOUNT_SETUP_REQUIRED"
    default_suggestion = "Wait until the seller has approved the account; list_accounts shows its status."


class AccountPaymentRequired(RequestError):
    reason = "ACCOUNT_PAYMENT_REQUIRED"
    recovery = "terminal"
    default_suggestion = "Settle the account's balance with the seller."


class AccountSuspended(RequestError):
    reason = "ACCOUNT_SUSPENDED"
    recovery = "terminal"
    default_suggestion = "Ask the seller about the account."


class BillingNotSupported(RequestError):
    reason = "BILLING_NOT_SUPPORTED"
    default_suggestion = "Use one of the values of account.supported_billing in get_adcp_capabilities."


class UnsupportedProvisioning(RequestError):
    reason = "UNSUPPORTED_PROVISIONING"
    default_suggestion = "Identify the account by brand.domain, operator and billing only."


class ProductNotFound(RequestError):
    reason = "PRODUCT_NOT_FOUND"
    default_suggestion = "Use a product_id that get_products returns."


class InvalidPricingOption(RequestError):
    reason = "INVALID_PRICING_OPTION"
    default_suggestion = "Use a pricing_option_id that get_products returns for this product."


class BudgetTooLow(RequestError):
    reason = "BUDGET_TOO_LOW"
    default_suggestion = "Raise the budget, or choose another pricing option."


class MediaBuyNotFound(RequestError):
    reason = "MEDIA_BUY_NOT_FOUND"
    default_suggestion = "Use a media_buy_id that create_media_buy or get_media_buys returned."


class TermsRejected(RequestError):
    reason = "TERMS_REJECTED"
    default_suggestion = "Omit the terms to accept the seller's."


class PackageNotFound(RequestError):
    reason = "PACKAGE_NOT_FOUND"
    default_suggestion = "Use a package_id that get_media_buys returns for this media buy."


class InvalidState(RequestError):
    reason = "INVALID_STATE"
    default_suggestion = "Read status and valid_actions with get_media_buys, then send an action that is allowed."


class NotCancellable(RequestError):
    reason = "NOT_CANCELLABLE"
    default_suggestion = "Nothing is left to cancel; get_media_buys shows the status."


class RevisionConflict(RequestError):
    reason = "CONFLICT"
    status = 409
    recovery = "transient"
    default_suggestion = "Read the media buy with get_media_buys, then send the change with its current revision."


class ConflictingFields(RequestError):
    reason = "VALIDATION_ERROR"
    default_suggestion = "Change the named fields so that they no longer contradict each other."


class UnsupportedField(RequestError):
    reason = "UNSUPPORTED_FIELD"
    default_suggestion = "Omit the field."


class CredentialInArguments(RequestError):
    reason = "CREDENTIAL_IN_ARGS"
    status = 400
    recovery = "terminal"
    default_suggestion = "Send keys in the Authorization header only. Replace this key: it may have been logged."


class MediaBuyNotFinal(RequestError):
    reason = "NOT_FINAL_YET"
    status = 409
    default_suggestion = "Call again after the time that the message gives."


class UnsupportedGranularity(RequestError):
    reason = "UNSUPPORTED_GRANULARITY"
    status = 400
    default_suggestion = "Omit time_granularity."


class IdempotencyConflict(RequestError):
    reason = "IDEMPOTENCY_CONFLICT"
    status = 409
    default_suggestion = "Use a new idempotency_key for a new call. To retry the original call, repeat it unchanged."


class BodyTooLarge(RequestError):
    reason = "REQUEST_TOO_LARGE"
    status = 413
    default_suggestion = "Split the events into smaller batches."


class NotFound(RequestError):
    reason = "NOT_FOUND"
    status = 404
    default_suggestion = "Use one of the routes in /openapi.json."


class MethodNotAllowed(RequestError):
    reason = "METHOD_NOT_ALLOWED"
    status = 405
    default_suggestion = "Use one of the methods that /openapi.json lists for this route."


class AuthError(PostbackError):
    status = 401


class AuthMissing(AuthError):
    reason = "AUTH_MISSING"
    recovery = "correctable"
    default_suggestion = "Send your API key as 'Authorization: Bearer KEY' or 'x-adcp-auth: KEY'."


class AuthInvalid(AuthError):
    reason = "AUTH_INVALID"
    recovery = "terminal"
    default_suggestion = "Ask the seller for a valid API key."


class SignatureRefused(AuthError):
    reason = "REQUEST_SIGNATURE_INVALID"
    recovery = "correctable"
    default_suggestion = (
        "Sign the request by AdCP's request-signing profile, over the server's public URL, with a fresh nonce."
    )


class PermissionDenied(AuthError):
    reason = "PERMISSION_DENIED"
    status = 403
    recovery = "terminal"
    default_suggestion = (
        "Use a key with the required scope. The seller creates one with 'postback keys create --scope'."
    )


class OriginNotAllowed(AuthError):
    reason = "ORIGIN_NOT_ALLOWED"
    status = 403
    recovery = "terminal"
    default_suggestion = (
        "Call it from a server, or have the operator add the page's origin to POSTBACK_ALLOWED_ORIGINS."
    )


class TransientError(PostbackError):
    recovery = "transient"


class RequestTimeout(TransientError):
    reason = "REQUEST_TIMEOUT"
    status = 408
    default_suggestion = "Nothing was stored. Send the request again, without pauses."


class RateLimitExceeded(TransientError):
    reason = "RATE_LIMIT_EXCEEDED"
    status = 429
    default_suggestion = "Wait for retry_after seconds, then retry with exponential backoff."


class StoreUnavailable(TransientError):
    reason = "SERVICE_UNAVAILABLE"
    status = 503
    default_suggestion = "Nothing was acknowledged. Retry with the same idempotency_key."


class Overloaded(TransientError):
    reason = "SERVICE_UNAVAILABLE"
    status = 503
    default_suggestion = "Nothing was stored. Retry with the same idempotency_key after retry_after seconds."


class InternalError(TransientError):
    reason = "INTERNAL_ERROR"
    status = 500
    default_suggestion = "Retry with the same idempotency_key; if it persists, give the seller the request_id."


def raise_all(errors: Sequence[PostbackError]) -> None:
    """Raise the first error with the others in ``also``, 100 in all; do nothing when there are none."""
    if errors:
        errors[0].also = errors[1:100]
        raise errors[0]
