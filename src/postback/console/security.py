"""What keeps a page of the console from running, loading or being framed by anything that isn't its own."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from starlette.datastructures import Headers

from postback.errors import OriginNotAllowed
from postback.protocol.origins import web_origin

__all__ = ["check_form", "check_origin", "csrf_token", "page_headers"]

_POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types htmx"
)


def page_headers(nonce: str) -> dict[str, str]:
    """The headers of every response but static files; scripts run only with this nonce."""
    return {
        "Content-Security-Policy": _POLICY.format(nonce=nonce),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-store",
        "Vary": "Accept, Authorization, Cookie",
    }


def csrf_token(session: str) -> str:
    """The token of a session's forms; who knows it can't find the session by it."""
    return hmac.digest(session.encode(), b"postback console form", hashlib.sha256).hex()


def check_origin(headers: Headers, public_url: str) -> None:
    """Check that a form was sent from a page of this server, which every browser says of a POST.

    Raises:
        OriginNotAllowed: It was sent from elsewhere, or by something that doesn't say.
    """
    sent = headers.get("origin")
    if sent is None or web_origin(sent) is None:
        raise OriginNotAllowed("A form of the console must be sent with its Origin, as browsers do.")
    host = headers.get("host", "")
    if web_origin(sent) not in {web_origin(url) for url in (f"http://{host}", f"https://{host}", public_url)}:
        raise OriginNotAllowed(
            "This form was sent from another website.",
            suggestion="Open the console at its own address, and set POSTBACK_PUBLIC_URL where a proxy changes it.",
        )


def check_form(form: Mapping[str, str], csrf: str) -> None:
    """Check that a form carries the session's token.

    Raises:
        OriginNotAllowed: It doesn't.
    """
    if not hmac.compare_digest(form.get("csrf", "").encode(), csrf.encode()):
        raise OriginNotAllowed("This form belongs to another session. Open its page again, and send it from there.")
