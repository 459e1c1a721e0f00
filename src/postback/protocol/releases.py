"""AdCP releases: which are served, and which one a request gets (core/version-envelope.json)."""

from __future__ import annotations

import re

from postback.errors import InvalidRequest, UnsupportedVersion

__all__ = ["MAJORS", "RELEASES", "Release", "negotiate"]

Release = str
"""A release as ``"3.1"``. None stands for the seed's dialect: a request that pins nothing."""

RELEASES: tuple[Release, ...] = ("3.0", "3.1", "3.2")

MAJORS: tuple[int, ...] = tuple(sorted({int(release.partition(".")[0]) for release in RELEASES}))

_HIGHEST_MAJOR = 99
"""Of AdCP's schema, which an echoed pin has to fit."""

_PIN = re.compile(r"(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})(\.[0-9]{1,9})?(-[A-Za-z0-9.-]{0,62}[A-Za-z0-9])?\Z")
"""A release, as ``3.1``. With a pre-release, as ``3.1-beta``, or with a patch, which clients send against the
specification, it is none that is served."""


def negotiate(adcp_version: object, adcp_major_version: object) -> Release | None:
    """Choose the release that a request is served.

    ``adcp_version`` is matched down: the highest release at or below the pin, of the same major. A request with only
    ``adcp_major_version``, the one field that 3.0 knew, is served that major's first release. Without either the
    seed's dialect (None) is spoken. With both, both must be served.

    Raises:
        UnsupportedVersion: Nothing that is served fits the pin.
        InvalidRequest: A pin of the wrong type or form.
    """
    release = None if adcp_version is None else _at_or_below(adcp_version)
    first = None if adcp_major_version is None else _first_of(adcp_major_version)
    return release or first


def _at_or_below(pin: object) -> Release:
    match = _PIN.match(pin) if isinstance(pin, str) else None
    if match is None:
        raise InvalidRequest(
            'adcp_version must be a release, as "3.1".',
            field="adcp_version",
            suggestion=f"Pin one of {', '.join(RELEASES)}.",
            details=_supported(),
        )
    major, minor, patch, pre_release = int(match[1]), int(match[2]), match[3], match[4]
    fitting = [r for r in RELEASES if _parts(r)[0] == major and _parts(r)[1] <= minor]
    if patch or pre_release or not fitting:
        echoed: dict[str, object] = {} if patch else {"adcp_version": pin}
        raise _unsupported(f"AdCP {pin} is not served here.", "adcp_version", echoed)
    return fitting[-1]


def _first_of(major: object) -> Release:
    if not isinstance(major, int) or isinstance(major, bool):
        raise InvalidRequest(
            "adcp_major_version must be an integer, as 3.", field="adcp_major_version", details=_supported()
        )
    fitting = [r for r in RELEASES if _parts(r)[0] == major]
    if not fitting:
        echoed: dict[str, object] = {"adcp_major_version": major} if 1 <= major <= _HIGHEST_MAJOR else {}
        raise _unsupported("That major version of AdCP is not served here.", "adcp_major_version", echoed)
    return fitting[0]


def _unsupported(sentence: str, field: str, echoed: dict[str, object]) -> UnsupportedVersion:
    return UnsupportedVersion(
        f"{sentence} Supported: {', '.join(RELEASES)}.", field=field, details=echoed | _supported()
    )


def _supported() -> dict[str, object]:
    """What is served, as error-details/version-unsupported.json says it."""
    return {"supported_versions": list(RELEASES), "supported_majors": list(MAJORS)}


def _parts(release: Release) -> tuple[int, int]:
    major, minor = release.split(".")
    return int(major), int(minor)
