"""Lets faults befall a cluster under load, again and again: python -m tests.faults.chaos --tries 100

Each try starts three servers on two shards and one PostgreSQL, each of which is reached by a proxy, and lets buyers and
ad servers call them in turn. A seed draws what befalls them: servers are killed, stand still, come and go for good, or
have a clock that is off; accounts move to the other shard, and the command that moves them or a server is killed in a
phase of that; shards and PostgreSQL refuse, break off, lose what they answer, or are late. In the end all is let go,
and what was acknowledged is compared with what is stored, forwarded and reported. The tries are counted in a file, so
that a later run goes on with them.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.faults.cluster import faketime, running_cluster
from tests.faults.cluster_faults import FAULTS, ON_STORES, Faults
from tests.faults.cluster_ledger import check_cluster
from tests.faults.cluster_load import ClusterLoad
from tests.faults.counted_tries import counted_tries, markdown_table, options_of_tries

COUNTED = "tests/faults/counted/chaos.jsonl"

_IN_A_TRY = 8
_LASTING_SECONDS = (1, 2, 4, 8, 16)
"""Some are longer than a lease, after which another server does the work of one that stands still."""

_TOGETHER = 0.5
"""How often a fault of what servers share comes while a server is killed or stands still, if it is the next."""


def run_try(seed: int, faults: Sequence[str] = (), lasting: Sequence[int] = _LASTING_SECONDS) -> dict[str, Any]:
    """Let faults befall one cluster, and compare what is left.

    Args:
        seed: Draws which faults befall what, and for how long.
        faults: These, instead of those that the seed draws.
        lasting: Seconds that they may last.

    Returns:
        ``seed``; ``faults``, how often each was; ``acknowledged``, by kind; ``unanswered`` calls.

    Raises:
        AssertionError: Something was lost, or is there or counted twice. The folder is kept, and printed.
    """
    folder = Path(tempfile.mkdtemp(prefix="postback-chaos-"))
    chance = random.Random(seed)
    chosen = list(faults) or chance.sample(sorted(FAULTS), _IN_A_TRY)
    try:
        with running_cluster(folder) as (cluster, receiver):
            load = ClusterLoad(cluster)
            with load.sending():
                _befall(Faults(cluster, load, chance), load, chosen, chance, lasting)
            acknowledged = check_cluster(cluster, load, receiver, folder)
    except BaseException:
        sys.stderr.write(f"Failed: --seed {seed}, {', '.join(chosen)}; the folder: {folder}\n")
        raise
    shutil.rmtree(folder)
    counted = dict(Counter(chosen))
    return {"seed": seed, "faults": counted, "acknowledged": acknowledged, "unanswered": load.unanswered}


def _befall(
    faults: Faults, load: ClusterLoad, names: Sequence[str], chance: random.Random, lasting: Sequence[int]
) -> None:
    """Let one fault befall the cluster after the other, some of them two at once; callers are served all the time."""
    waiting = list(names)
    while waiting:
        with ExitStack() as stack:
            name = waiting.pop(0)
            stack.enter_context(FAULTS[name](faults))
            if name not in ON_STORES and waiting and waiting[0] in ON_STORES and chance.random() < _TOGETHER:
                stack.enter_context(FAULTS[waiting.pop(0)](faults))
            time.sleep(chance.choice(lasting))
            load.wait_for_answers(20)
        load.wait_for_answers(20)


def table(tries: Sequence[dict[str, Any]]) -> str:
    """What came of the tries, as tables of Markdown; one in which something was lost is not among them."""
    faults: Counter[str] = Counter()
    acknowledged: Counter[str] = Counter()
    for each in tries:
        faults.update(each["faults"])
        acknowledged.update(each["acknowledged"])
    befallen = [*sorted(faults.items()), ("All", faults.total()), ("Tries", len(tries))]
    again = acknowledged.pop("deliveries that came again", 0)
    more = acknowledged.pop("events of calls without an answer", 0)
    stored = [(what.capitalize(), number) for what, number in sorted(acknowledged.items())]
    others = [
        ("Events of calls that weren't answered, there at most once", more),
        ("Deliveries that came again, with the same key", again),
        ("Calls that got no answer", sum(each["unanswered"] for each in tries)),
    ]
    return "\n\n".join(
        (
            markdown_table(("What befell a cluster", "Times"), befallen),
            markdown_table(("Acknowledged, and there once", "Number"), [*stored, *others]),
        )
    )


def main() -> None:
    """Run the tries, and print what came of all of them; with --seed one, which isn't counted."""
    parser = options_of_tries(__doc__, COUNTED, tries=100)
    parser.add_argument("--seed", type=int, help="run the try of this seed again, and don't count it")
    options = parser.parse_args()
    if options.seed is not None:
        sys.stdout.write(f"{run_try(options.seed)}\n")
        return
    wanted = 0 if options.table else options.tries
    if wanted and not faketime():
        sys.stderr.write("Skipped: clocks that are off, for Debian's package faketime is not installed\n")
    tries = counted_tries(wanted, options.counted, lambda: run_try(random.getrandbits(32)))
    sys.stdout.write(table(tries) + "\n")


if __name__ == "__main__":
    main()
