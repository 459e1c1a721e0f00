"""AdCP releases: which ones are served, and which one a request gets (core/version-envelope.json)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from postback.errors import InvalidRequest, UnsupportedVersion

__all__ = ["MAJORS", "MAJOR_ONLY", "RELEASES", "UNVERSIONED", "Negotiated", "Release", "is_prerelease", "negotiate"]

Release = str
"""A release, for example ``"3.1"``. None stands for an unversioned request, which pins nothing."""

RELEASES: tuple[Release, ...] = ("3.0", "3.1", "3.2")

_PARTS = {release: tuple(map(int, release.split("."))) for release in RELEASES}

MAJORS: tuple[int, ...] = tuple(sorted({major for major, _ in _PARTS.values()}))

MAJOR_ONLY: Release = "3"
"""What a request is served that pins only the major: the newest release of it, but no value that the enumerations of
its first one lack. The strict clients of 3.0 send nothing else."""

_HIGHEST_MAJOR = 99
"""The maximum in AdCP's schema, which an echoed pin must satisfy."""

_PIN = re.compile(r"(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})(\.[0-9]{1,9})?(-[A-Za-z0-9.-]{0,62}[A-Za-z0-9])?\Z")
"""A release, for example ``3.1``. One with a patch, which some clients send against the specification, is never served,
and one with a pre-release (``3.1-beta``) only where a setting lists it."""


class Negotiated(NamedTuple):
    """What a request is served.

    Attributes:
        release: The rules that apply: one of RELEASES, MAJOR_ONLY, or None for an unversioned request.
        shown: The ``adcp_version`` of the response, or None: a release, or the pre-release that was pinned.
    """

    release: Release | None
    shown: str | None


UNVERSIONED = Negotiated(None, None)


def negotiate(adcp_version: object, adcp_major_version: object, prereleases: Sequence[str] = ()) -> Negotiated:
    """Choose the release that a request is served.

    ``adcp_version`` is matched downwards: the highest release of the same major at or below the pin. A pre-release
    matches only exactly, and is served as the release that it precedes. A request with only ``adcp_major_version``,
    the one field that 3.0 knows, is served that major's newest release (MAJOR_ONLY). A request with neither is
    unversioned. With both, both must be served.

    Args:
        adcp_version: The request's field, or None.
        adcp_major_version: The request's field, or None.
        prereleases: Those that are accepted.

    Raises:
        UnsupportedVersion: No release that is served fits the pin.
        InvalidRequest: A pin has the wrong type or form.
    """
    supported = (*RELEASES, *prereleases)
    if adcp_major_version is not None:
        _check_major(adcp_major_version, supported)
    if adcp_version is not None:
        return _at_or_below(adcp_version, supported)
    return UNVERSIONED if adcp_major_version is None else Negotiated(MAJOR_ONLY, RELEASES[-1])


def is_prerelease(text: str) -> bool:
    """Whether a text names a pre-release that this server could be set to accept, for example ``3.2-beta.5``."""
    match = _PIN.match(text)
    return match is not None and bool(match[4]) and not match[3] and int(match[1]) in MAJORS


def _at_or_below(pin: object, supported: Sequence[str]) -> Negotiated:
    match = _PIN.match(pin) if isinstance(pin, str) else None
    if match is None:
        raise InvalidRequest(
            'adcp_version must be a release, for example "3.1".',
            field="adcp_version",
            suggestion=f"Pin one of {', '.join(supported)}.",
            details=_supported(supported),
        )
    major, minor, patch, pre_release = int(match[1]), int(match[2]), match[3], match[4]
    fitting = [release for release, parts in _PARTS.items() if parts[0] == major and parts[1] <= minor]
    if patch or (pre_release and pin not in supported) or not fitting:
        echoed: dict[str, object] = {} if patch else {"adcp_version": pin}
        raise _unsupported(f"This server does not support AdCP {pin}.", "adcp_version", echoed, supported)
    return Negotiated(fitting[-1], match[0] if pre_release else fitting[-1])


def _check_major(major: object, supported: Sequence[str]) -> None:
    if not isinstance(major, int) or isinstance(major, bool):
        raise InvalidRequest(
            "adcp_major_version must be an integer, for example 3.",
            field="adcp_major_version",
            details=_supported(supported),
        )
    if major not in MAJORS:
        echoed: dict[str, object] = {"adcp_major_version": major} if 1 <= major <= _HIGHEST_MAJOR else {}
        sentence = "This server does not support that major version of AdCP."
        raise _unsupported(sentence, "adcp_major_version", echoed, supported)


def _unsupported(sentence: str, field: str, echoed: dict[str, object], supported: Sequence[str]) -> UnsupportedVersion:
    return UnsupportedVersion(
        f"{sentence} Supported: {', '.join(supported)}.", field=field, details=echoed | _supported(supported)
    )


def _supported(supported: Sequence[str]) -> dict[str, object]:
    """What is served, in the form of error-details/version-unsupported.json."""
    return {"supported_versions": list(supported), "supported_majors": list(MAJORS)}
