"""An operator reads what the server did from /metrics."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from postback.metrics import Metrics


def _samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {(s.name, *sorted(s.labels.values())): s.value for family in families for s in family.samples}


def test_a_call_is_counted_by_task_transport_and_outcome() -> None:
    metrics = Metrics()
    metrics.request("log_event", "mcp", "ok", 0.01)
    metrics.request("log_event", "mcp", "RATE_LIMIT_EXCEEDED", 0.001)

    samples = _samples(metrics)

    assert samples["postback_requests_total", "log_event", "mcp", "ok"] == 1
    assert samples["postback_requests_total", "RATE_LIMIT_EXCEEDED", "log_event", "mcp"] == 1
    assert samples["postback_request_duration_seconds_count", "log_event", "mcp"] == 2


def test_events_are_counted_by_verdict_and_warning() -> None:
    metrics = Metrics()
    metrics.events(accepted=7, rejected={("INVALID_EVENT_TYPE", "rules"): 2, ("INVALID_EVENT_TIME", "decode"): 1})
    metrics.warnings({"MISSING_USER_MATCH": 4})

    samples = _samples(metrics)

    assert samples["postback_events_accepted_total",] == 7
    assert samples["postback_events_rejected_total", "INVALID_EVENT_TYPE", "rules"] == 2
    assert samples["postback_events_rejected_total", "INVALID_EVENT_TIME", "decode"] == 1
    assert samples["postback_event_warnings_total", "MISSING_USER_MATCH"] == 4


def test_an_insert_tells_its_rows_and_how_many_calls_shared_it() -> None:
    metrics = Metrics()
    metrics.log_waiting(lambda: 12, lambda: 6_000)
    metrics.insert(rows=12, seconds=0.004, calls=3)
    metrics.request_size("rest", 5_000)

    samples = _samples(metrics)

    assert samples["postback_queued_events",] == 12
    assert samples["postback_log_waiting_bytes",] == 6_000
    assert samples["postback_insert_rows_sum",] == 12
    assert samples["postback_insert_calls_sum",] == 3
    assert samples["postback_request_size_bytes_sum", "rest"] == 5_000


def test_an_observation_counts_in_the_bucket_whose_bound_it_comes_to_and_in_all_above() -> None:
    metrics = Metrics()
    for seconds in (0.002, 0.0021, 60):
        metrics.request("log_event", "rest", "ok", seconds)

    families = text_string_to_metric_families(metrics.render().decode())
    [family] = [family for family in families if family.name == "postback_request_duration_seconds"]
    counts = {s.labels["le"]: s.value for s in family.samples if s.name.endswith("_bucket")}

    assert (counts["0.002"], counts["0.005"], counts["10.0"], counts["+Inf"]) == (1, 2, 2, 3)


def test_two_servers_in_one_process_count_apart() -> None:
    first, second = Metrics(), Metrics()
    first.events(accepted=1, rejected={})

    assert _samples(second)["postback_events_accepted_total",] == 0


def test_a_stage_is_timed_also_when_it_fails() -> None:
    metrics = Metrics()
    with metrics.request_stages.time("read"):
        pass
    with pytest.raises(ValueError, match="broken"), metrics.request_stages.time("read"):
        raise ValueError("broken")
    metrics.attribution_stages.observe("match", 2.5)

    samples = _samples(metrics)

    assert samples["postback_stage_duration_seconds_count", "read", "request"] == 2
    assert 0 < samples["postback_stage_duration_seconds_sum", "read", "request"] < 60
    assert samples["postback_stage_duration_seconds_sum", "attribution", "match"] == 2.5


def test_metrics_are_named_as_prometheus_recommends() -> None:
    metrics = Metrics()
    metrics.backlog(dict)
    families = list(text_string_to_metric_families(metrics.render().decode()))
    ours = [family for family in families if family.name.startswith("postback_")]

    for family in ours:
        unix_time = "Unix time" in family.documentation
        assert unix_time == family.name.endswith("_timestamp_seconds"), family.name
        assert family.documentation.endswith("."), family.name
        if family.type == "histogram" and family.documentation.startswith("Time"):
            assert family.name.endswith("_duration_seconds"), family.name
    assert ours
