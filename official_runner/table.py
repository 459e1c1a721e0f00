"""The results of the storyboards, as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from official_runner.fuzzer import FUZZED, Fuzzed
from official_runner.runner import PROTOCOLS, Result
from official_runner.storyboards import Storyboards

__all__ = ["failures", "fuzz_lines", "table"]

_WORDS = {"passed": "passed", "failed": "failed", "excused": "failed, but optional", "skipped": "skipped"}


def table(storyboards: Storyboards, results: list[Result]) -> str:
    """A row for each storyboard, a column for each protocol; then why steps did not run or don't count."""
    ids = list(dict.fromkeys(result.report["id"] for result in results))
    by_key = {(result.report["id"], result.protocol): result for result in results}
    lines = [
        f"The storyboards of AdCP {storyboards.release}:",
        "",
        f"| Storyboard | {' | '.join(name.upper() for name in PROTOCOLS)} | Adapted |",
        f"|---|{'---|' * len(PROTOCOLS)}---|",
    ]
    for name in ids:
        shown = [_counts(by_key[name, protocol]) for protocol in PROTOCOLS]
        lines.append(f"| `{name}` | {' | '.join(shown)} | {', '.join(by_key[name, 'mcp'].report['changes'])} |")
    lines += _listed("Left out", (f"- `{name}`: {why}" for name, why in storyboards.left_out.items()))
    lines += _listed("Steps that failed in optional phases, which the runner doesn't count", _steps(results, "excused"))
    lines += _listed("Skipped steps, the same over both protocols unless it says otherwise", _steps(results, "skipped"))
    return "\n".join(lines)


def fuzz_lines(fuzzed: list[Fuzzed]) -> str:
    """The results of the official fuzzer."""
    tasks = ", ".join(f"`{task}`" for task in FUZZED)
    lines = [f"The official fuzzer, on {tasks}:", ""]
    lines += [f"- {part.protocol.upper()}: {part.calls} calls, {len(part.failures)} failures" for part in fuzzed]
    return "\n".join(lines)


def failures(results: list[Result]) -> list[str]:
    """A line for each failed step, each storyboard that the runner fails, and each without a passed step."""
    return [
        f"FAILED {result.protocol} {result.report['id']} {problem}"
        for result in results
        for problem in _failures(result)
    ]


def _failures(result: Result) -> Iterator[str]:
    for step in result.steps:
        if step["result"] == "failed":
            yield f"{step['id']}: {step['detail'] or step['wrong']}"
    if not result.report["passed"]:
        yield f"as a whole: {result.report['broken'] or 'see its steps'}"
    if not _of(result)["passed"]:
        yield "as a whole: no step passed"


def _counts(result: Result) -> str:
    counts = _of(result)
    return ", ".join(f"{counts[word]} {shown}" for word, shown in _WORDS.items() if counts[word])


def _of(result: Result) -> Counter[str]:
    return Counter(step["result"] for step in result.steps)


def _listed(title: str, found: Iterator[str]) -> list[str]:
    lines = sorted(set(found))
    return ["", f"{title}:", "", *lines] if lines else []


def _steps(results: list[Result], word: str) -> Iterator[str]:
    for result in results:
        for step in result.steps:
            if step["result"] == word:
                reason = f": {step['reason']}" if step["reason"] else ""
                yield f"- `{result.report['id']}` `{step['id']}` ({step['task']}){reason}"
