"""What the storyboards showed, as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from conformance.fuzzer import FUZZED, Fuzzed
from conformance.runner import PROTOCOLS, Result

__all__ = ["failures", "fuzz_lines", "table"]


def table(results: list[Result]) -> str:
    """A row a storyboard, a column a protocol; then the reasons of what was skipped."""
    ids = list(dict.fromkeys(result.told["id"] for result in results))
    by_key = {(result.told["id"], result.protocol): result for result in results}
    lines = [
        f"| Storyboard | {' | '.join(name.upper() for name in PROTOCOLS)} | Adapted |",
        f"|---|{'---|' * len(PROTOCOLS)}---|",
    ]
    for name in ids:
        shown = [_counts(by_key[name, protocol]) for protocol in PROTOCOLS]
        lines.append(f"| `{name}` | {' | '.join(shown)} | {', '.join(by_key[name, 'mcp'].told['changes'])} |")
    lines += ["", "Skipped steps, the same over both protocols unless it says otherwise:", ""]
    lines += sorted(set(_skips(results)))
    return "\n".join(lines)


def fuzz_lines(fuzzed: list[Fuzzed]) -> str:
    """What the official fuzzer showed."""
    tasks = ", ".join(f"`{task}`" for task in FUZZED)
    lines = [f"The official fuzzer, on {tasks}:", ""]
    lines += [f"- {part.protocol.upper()}: {part.calls} calls, {len(part.failures)} failures" for part in fuzzed]
    return "\n".join(lines)


def failures(results: list[Result]) -> list[str]:
    """A line for each step that failed, and one for each storyboard of which nothing passed."""
    lines = [
        f"FAILED {result.protocol} {result.told['id']} {step['id']}: {step['detail'] or step['wrong']}"
        for result in results
        for step in result.steps
        if step["result"] == "failed"
    ]
    empty = [result for result in results if not _of(result)["passed"]]
    return lines + [f"FAILED {result.protocol} {result.told['id']}: no step passed" for result in empty]


def _counts(result: Result) -> str:
    counts = _of(result)
    return ", ".join(f"{counts[word]} {word}" for word in ("passed", "failed", "skipped") if counts[word])


def _of(result: Result) -> Counter[str]:
    return Counter(step["result"] for step in result.steps)


def _skips(results: list[Result]) -> Iterator[str]:
    for result in results:
        for step in result.steps:
            if step["result"] == "skipped":
                yield f"- `{result.told['id']}` `{step['id']}` ({step['task']}): {step['reason']}"
