"""AdCP releases: which are served, and which one a request gets (core/version-envelope.json)."""

from __future__ import annotations

import re

from postback.errors import InvalidRequest, UnsupportedVersion

__all__ = ["RELEASES", "Release", "negotiate"]

Release = str
"""A release as ``"3.1"``. None stands for the seed's dialect: a request that pins nothing."""

RELEASES: tuple[Release, ...] = ("3.0", "3.1", "3.2")

_PIN = re.compile(r"(0|[1-9]\d{0,3})\.(0|[1-9]\d{0,3})(-[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)?\Z")


def negotiate(adcp_version: object, adcp_major_version: object) -> Release | None:
    """Choose the release that a request is served.

    ``adcp_version`` is matched down: the highest release at or below the pin, of the same major. A request with only
    ``adcp_major_version``, the one field that 3.0 knew, is served that major's first release. Without either the
    seed's dialect (None) is spoken.

    Raises:
        UnsupportedVersion: Nothing that is served fits the pin.
        InvalidRequest: A pin of the wrong type or form.
    """
    if adcp_version is not None:
        return _at_or_below(adcp_version)
    if adcp_major_version is not None:
        return _first_of(adcp_major_version)
    return None


def _at_or_below(pin: object) -> Release:
    match = _PIN.match(pin) if isinstance(pin, str) else None
    if match is None:
        raise InvalidRequest(
            'adcp_version must be a release, as "3.1".',
            field="adcp_version",
            suggestion=f"Pin one of {', '.join(RELEASES)}.",
        )
    major, minor, pre_release = int(match[1]), int(match[2]), match[3]
    fitting = [r for r in RELEASES if _parts(r)[0] == major and _parts(r)[1] <= minor]
    if pre_release or not fitting:
        raise _unsupported(f"AdCP {pin} is not served here.", "adcp_version")
    return fitting[-1]


def _first_of(major: object) -> Release:
    if not isinstance(major, int) or isinstance(major, bool):
        raise InvalidRequest("adcp_major_version must be an integer, as 3.", field="adcp_major_version")
    fitting = [r for r in RELEASES if _parts(r)[0] == major]
    if not fitting:
        raise _unsupported(f"AdCP major version {major} is not served here.", "adcp_major_version")
    return fitting[0]


def _unsupported(sentence: str, field: str) -> UnsupportedVersion:
    return UnsupportedVersion(
        f"{sentence} Supported: {', '.join(RELEASES)}.",
        field=field,
        details={"supported_versions": list(RELEASES)},
    )


def _parts(release: Release) -> tuple[int, int]:
    major, minor = release.split(".")
    return int(major), int(minor)
