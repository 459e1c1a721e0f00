"""Exposures under an exposure_id that another impression or click has: the first one counts, so they fail."""

from __future__ import annotations

from zlib import crc32

from postback.events.rejection import Rejection
from postback.exposures.exposure import Exposure
from postback.exposures.validate import ExposureValidationResult, RejectedExposure
from postback.store.recent_identities import Claim, RecentIdentities, hashes_of

__all__ = ["reject_reused_ids"]


def reject_reused_ids(account_id: str, result: ExposureValidationResult, recent: RecentIdentities) -> Claim:
    """Fail the accepted exposures that are another's kind, package or media buy under its id; record the others.

    Args:
        account_id: The account, in which an exposure_id is unique.
        result: The batch. What fails is moved from ``accepted`` to ``failed``.
        recent: What was received lately. An id that it doesn't remember passes.

    Returns:
        What the ids are recorded by.
    """
    accepted = result.accepted
    hashes = hashes_of([exposure.exposure_id for exposure in accepted], [account_id])
    claim = recent.claim(hashes, list(map(_digest, accepted)))
    reused = [mark == 2 for mark in claim.marks]
    if any(reused):
        failed = [
            RejectedExposure(index, exposure.exposure_id, _rejection())
            for index, exposure, fails in zip(result.indexes, accepted, reused, strict=True)
            if fails
        ]
        gone = {exposure.index for exposure in failed}
        result.failed = sorted([*result.failed, *failed], key=lambda exposure: exposure.index)
        result.accepted = [exposure for exposure, fails in zip(accepted, reused, strict=True) if not fails]
        result.indexes = [index for index in result.indexes if index not in gone]
        left = {code: [index for index in indexes if index not in gone] for code, indexes in result.warnings.items()}
        result.warnings = {code: indexes for code, indexes in left.items() if indexes}
    return claim


def _digest(exposure: Exposure) -> int:
    return crc32(f"{exposure.kind}\0{exposure.media_buy_id}\0{exposure.package_id}".encode())


def _rejection() -> Rejection:
    return Rejection(
        "EXPOSURE_ID_REUSED",
        "Another exposure has this exposure_id with another kind, media_buy_id or package_id. Send each impression "
        "and each click with an exposure_id of its own.",
        "exposure_id",
    )
