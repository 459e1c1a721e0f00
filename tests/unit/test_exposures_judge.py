"""A batch of exposures is the same batch whenever it is judged and however it is written down."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from postback.exposures.judge import ExposureVerdicts, judge_exposures
from postback.ingest.identifiers import IdentifierHasher

NOW = datetime(2026, 1, 15, 14, 30, tzinfo=UTC)
SENT = '{"exposure_id":"1","kind":"click","occurred_at":"2026-01-15T14:45:00Z","media_buy_id":"m","package_id":"p"%s}'


def judged(more: str, now: datetime = NOW) -> ExposureVerdicts:
    raws = [msgspec.Raw((SENT % more).encode())]
    return judge_exposures(raws, IdentifierHasher(b"k" * 32), now, sandbox=False)


def test_a_batch_stays_the_same_when_its_verdict_changes_with_time() -> None:
    early, later = judged(""), judged("", NOW + timedelta(minutes=6))

    assert (len(early.failed), len(later.failed)) == (1, 0)
    assert early.fingerprint == later.fingerprint


@pytest.mark.parametrize("spelt", ["5e3", "5000.0"])
def test_an_amount_is_the_same_however_it_is_spelt(spelt: str) -> None:
    plain = judged(',"cost":5000,"currency":"USD"')

    assert judged(f',"currency":"USD", "cost" : {spelt}').fingerprint == plain.fingerprint


def test_an_unknown_member_makes_a_difference() -> None:
    assert judged(',"zz":1').fingerprint != judged(',"zz":2').fingerprint
