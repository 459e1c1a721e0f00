"""Every error that Postback tells a caller about.

PostbackError
├── RequestError                 the caller can correct it
│   ├── InvalidRequest           a field violates its schema
│   ├── BatchTooLarge            more than 10,000 events
│   ├── InvalidPeriod            a report's period that ends before it begins
│   ├── UnsupportedVersion       a release of AdCP that is not served
│   ├── UnsupportedTask          a task that is not offered
│   ├── EventSourceNotFound      no such event source, or somebody else's
│   ├── AccountNotFound          no such account, or somebody else's
│   ├── AccountRequired          several accounts fit; the call names none
│   ├── AccountAmbiguous         several accounts hold the same source
│   ├── AccountSetupRequired     the seller hasn't approved the account
│   ├── AccountPaymentRequired   the account has to be paid for first
│   ├── AccountSuspended         the account is suspended, closed or was rejected
│   ├── BillingNotSupported      somebody else is to be invoiced than can be
│   ├── UnsupportedProvisioning  an account with more of an identity than is kept
│   ├── ProductNotFound          no such product on offer
│   ├── InvalidPricingOption     the product has no such price
│   ├── BudgetTooLow             below the least that a price asks for
│   ├── TermsRejected            terms of measurement other than the seller's
│   ├── MediaBuyNotFound         no such media buy, or somebody else's
│   ├── PackageNotFound          the media buy has no such package
│   ├── InvalidState             the media buy's status doesn't allow it
│   ├── NotCancellable           it is canceled or completed already
│   ├── RevisionConflict         the media buy was changed in between
│   ├── Contradiction            members of the call that can't all hold
│   ├── UnsupportedMember        a field that can't be followed here
│   ├── CredentialInArguments    an API key or token in the body
│   ├── IdempotencyConflict      the key was used for something else
│   ├── BodyTooLarge             more bytes than are read
│   ├── NotFound                 no such route or record (REST)
│   └── MethodNotAllowed         the route exists, the method does not (REST)
├── AuthError
│   ├── AuthMissing              no API key
│   ├── AuthInvalid              an API key that is unknown or revoked
│   ├── SignatureRefused         a request that must be signed and isn't, or not rightly
│   └── PermissionDenied         an API key that is for something else
└── TransientError               the same call may succeed later
    ├── RateLimitExceeded
    ├── StoreUnavailable         the event or control store refuses to write
    ├── Overloaded               the queue to the event store is full
    └── InternalError            a defect of Postback; details are in the log only

StartupError                     the server can't start; a sentence for the operator, never on the wire

A class fixes what a program needs: ``reason`` (the stable word, the seed page's vocabulary), the HTTP
status of the REST surface and ``recovery`` (core/error.json). An instance adds the sentence and the field.
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
    "Contradiction",
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
    "Overloaded",
    "PackageNotFound",
    "PermissionDenied",
    "PostbackError",
    "ProductNotFound",
    "RateLimitExceeded",
    "Recovery",
    "RequestError",
    "RevisionConflict",
    "SignatureRefused",
    "StartupError",
    "StoreUnavailable",
    "TermsRejected",
    "TransientError",
    "UnsupportedGranularity",
    "UnsupportedMember",
    "UnsupportedProvisioning",
    "UnsupportedTask",
    "UnsupportedVersion",
    "raise_all",
]


class StartupError(Exception):
    """The server can't start or a command can't run; the message is one sentence that says what to do."""


class PostbackError(Exception):
    """Something that a caller is told.

    Attributes:
        message: A sentence that names what was wrong. Never holds an identifier, a secret or a stack trace.
        field: JSONPath-lite of the offending member, as ``events[17].event_time``, or None.
        suggestion: What to do about it.
        retry_after: Whole seconds to wait before the same call, for transient errors.
        details: Further members for a program, or None.
        also: What else is wrong with the call.
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

    @property
    def retryable(self) -> bool:
        """Whether the same call, unchanged, may succeed later."""
        return self.recovery == "transient"


class RequestError(PostbackError):
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
    default_suggestion = "Send an end_date after the start_date, or leave one of them out."


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
    status = 200
    recovery = "terminal"  # AdCP's classification: an agent can't give itself an account
    default_suggestion = "Use an account that your API key acts for."


class AccountRequired(RequestError):
    reason = "ACCOUNT_REQUIRED"
    status = 200
    default_suggestion = 'Name the account: "account": {"account_id": "..."}.'


class AccountAmbiguous(RequestError):
    reason = "ACCOUNT_AMBIGUOUS"
    status = 200
    default_suggestion = 'Add "account": {"account_id": "..."}, or use the seller_id that sync_event_sources returned.'


class AccountSetupRequired(RequestError):
    reason = "ACCOUNT_SETUP_REQUIRED"
    status = 200
    default_suggestion = "Wait until the seller has approved the account; list_accounts shows its status."


class AccountPaymentRequired(RequestError):
    reason = "ACCOUNT_PAYMENT_REQUIRED"
    status = 200
    recovery = "terminal"
    default_suggestion = "Settle the account's balance with the seller."


class AccountSuspended(RequestError):
    reason = "ACCOUNT_SUSPENDED"
    status = 200
    recovery = "terminal"
    default_suggestion = "Ask the seller about the account."


class BillingNotSupported(RequestError):
    reason = "BILLING_NOT_SUPPORTED"
    status = 200
    default_suggestion = "Use a value of account.supported_billing, as get_adcp_capabilities returns it."


class UnsupportedProvisioning(RequestError):
    reason = "UNSUPPORTED_PROVISIONING"
    status = 200
    default_suggestion = "Name the brand's domain, the operator and the billing, and nothing else that identifies it."


class ProductNotFound(RequestError):
    reason = "PRODUCT_NOT_FOUND"
    status = 200
    default_suggestion = "Use a product_id that get_products returns."


class InvalidPricingOption(RequestError):
    reason = "INVALID_PRICING_OPTION"
    status = 200
    default_suggestion = "Use a pricing_option_id of this product, as get_products returns it."


class BudgetTooLow(RequestError):
    reason = "BUDGET_TOO_LOW"
    status = 200
    default_suggestion = "Raise the budget, or choose another pricing option."


class MediaBuyNotFound(RequestError):
    reason = "MEDIA_BUY_NOT_FOUND"
    status = 200
    default_suggestion = "Use a media_buy_id that create_media_buy or get_media_buys returned."


class TermsRejected(RequestError):
    reason = "TERMS_REJECTED"
    status = 200
    default_suggestion = "Leave the terms out, to buy on the seller's."


class PackageNotFound(RequestError):
    reason = "PACKAGE_NOT_FOUND"
    status = 200
    default_suggestion = "Use a package_id of this media buy, as get_media_buys returns it."


class InvalidState(RequestError):
    reason = "INVALID_STATE"
    status = 200
    default_suggestion = "Read the status and valid_actions with get_media_buys, and send what is allowed now."


class NotCancellable(RequestError):
    reason = "NOT_CANCELLABLE"
    status = 200
    default_suggestion = "Leave it as it is; get_media_buys shows its status."


class RevisionConflict(RequestError):
    reason = "CONFLICT"
    status = 409
    recovery = "transient"
    default_suggestion = "Read the media buy again, and repeat the change with its revision."


class Contradiction(RequestError):
    reason = "VALIDATION_ERROR"
    status = 200
    default_suggestion = "Compare the members that are named, and send them so that all of them hold."


class UnsupportedMember(RequestError):
    reason = "UNSUPPORTED_FIELD"
    status = 200
    default_suggestion = "Leave the field out."


class CredentialInArguments(RequestError):
    reason = "CREDENTIAL_IN_ARGS"
    status = 400
    recovery = "terminal"
    default_suggestion = "Send keys in the Authorization header only, and replace this one: it may have been logged."


class MediaBuyNotFinal(RequestError):
    reason = "NOT_FINAL_YET"
    status = 409
    default_suggestion = "Call again after that time."


class UnsupportedGranularity(RequestError):
    reason = "UNSUPPORTED_GRANULARITY"
    status = 400
    default_suggestion = "Leave time_granularity out."


class IdempotencyConflict(RequestError):
    reason = "IDEMPOTENCY_CONFLICT"
    status = 409
    default_suggestion = "Use a fresh idempotency_key for a new call; repeat the original call unchanged to retry it."


class BodyTooLarge(RequestError):
    reason = "REQUEST_TOO_LARGE"
    status = 413
    default_suggestion = "Split the events into smaller batches."


class NotFound(RequestError):
    reason = "NOT_FOUND"
    status = 404
    default_suggestion = "See /openapi.json for the routes."


class MethodNotAllowed(RequestError):
    reason = "METHOD_NOT_ALLOWED"
    status = 405
    default_suggestion = "See /openapi.json for the routes and their methods."


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
    default_suggestion = "Sign the request as AdCP says, with a fresh nonce, over the public URL of the server."


class PermissionDenied(AuthError):
    reason = "PERMISSION_DENIED"
    status = 403
    recovery = "terminal"
    default_suggestion = "Use a key of the right scope; the seller makes one with 'postback keys create --scope'."


class TransientError(PostbackError):
    recovery = "transient"


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
    default_suggestion = "Nothing was taken. Retry with the same idempotency_key after retry_after seconds."


class InternalError(TransientError):
    reason = "INTERNAL_ERROR"
    status = 500
    default_suggestion = "Retry with the same idempotency_key; if it persists, give the seller the request_id."


_MOST_TOLD = 100


def raise_all(errors: Sequence[PostbackError]) -> None:
    """Raise the first of several errors, which carries the others along; nothing happens when there is none."""
    if errors:
        errors[0].also = errors[1:_MOST_TOLD]
        raise errors[0]
