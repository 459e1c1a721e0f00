"""What a server's metrics say."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families
from tests.conftest import HTTP

from postback.transports.shared_answer import SHARED_SECONDS

if TYPE_CHECKING:
    from tests.conftest import Server


def samples(server: Server, name: str, **labels: str) -> list[tuple[dict[str, str], float]]:
    """The labels and the values of the samples of this name that have these labels, as they are now."""
    time.sleep(SHARED_SECONDS)  # what was asked for before is told again within this time
    families = text_string_to_metric_families(HTTP.get(f"{server.url}/metrics").text)
    found = [sample for family in families for sample in family.samples if sample.name == name]
    return [(sample.labels, sample.value) for sample in found if labels.items() <= sample.labels.items()]


def stages(server: Server, pipeline: str) -> dict[str, float]:
    """The stages of a pipeline that were timed, and how often."""
    timed = samples(server, "postback_stage_duration_seconds_count", pipeline=pipeline)
    return {labels["stage"]: value for labels, value in timed}
