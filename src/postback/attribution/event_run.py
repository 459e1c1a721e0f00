"""The steps of a run over events that are staged: to which exposure they go and for what they count."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from postback.attribution.exposure_index import ExposureView
from postback.attribution.matching import EventKeys, match
from postback.attribution.rules import AccountRules
from postback.attribution.staging import stage_sibling_sets
from postback.attribution.state import NEVER
from postback.attribution.statements import DerivedStore

__all__ = ["attribute_staged"]


def attribute_staged(
    derived: DerivedStore, account_id: str, rules: AccountRules, exposures: ExposureView, settled_before: int, run: int
) -> None:
    """Resolve the outcomes of the new events and of those to restate, into ``run_outcome``.

    Args:
        derived: Where the events are staged.
        account_id: Whose they are.
        rules: The account's.
        exposures: The account's, as far as they count.
        settled_before: The outcomes of events from before this time stay, in µs since the epoch.
        run: The number of the run.

    Raises:
        StoreUnavailable: The event store refused.
    """
    _stage_events(derived, account_id, rules, settled_before)
    linked = any(len(sources) > 1 for sources in rules.linked.values())
    several = [tuple(kinds) for (kinds,) in derived.rows("sibling_sets")] if linked else []
    windows = stage_sibling_sets(derived, rules, several)
    derived.run("stage_business", settled_before=settled_before)
    keys = derived.arrow("match_keys")
    with ThreadPoolExecutor(1, "attribution") as beside:
        indexed = beside.submit(
            derived.run, "index_events_by_key", account_id=account_id, settled_before=settled_before
        )
        with derived.stages.time("match"):
            matches = match(EventKeys(keys), exposures, rules.packages, windows)
        indexed.result()
    derived.fill("run_match", matches)
    _resolve(derived, rules, settled=bool(rules.frozen) or settled_before > NEVER)
    derived.run("resolve_outcomes", account_id=account_id, run_id=run)


def _stage_events(derived: DerivedStore, account_id: str, rules: AccountRules, settled_before: int) -> None:
    """Stage the new events and those to restate, with everything that is attributed together with them."""
    derived.run("load_previous_outcomes", account_id=account_id)
    ((previous, copies),) = derived.rows("count_known")
    if previous or copies:
        derived.run("stage_known")
    derived.run("stage_new", settled_before=settled_before)
    targets, staged = 0, -1
    while targets != staged:
        staged = targets
        if previous:
            derived.run("stage_siblings")
        if derived.value("count_targets"):
            derived.run("stage_targets", account_id=account_id, settled_before=settled_before)
        if rules.refund_types:
            derived.run("stage_orders", account_id=account_id, refund_types=list(rules.refund_types))
            derived.run("load_previous_outcomes", account_id=account_id)
            targets, previous = derived.value("count_targets"), True


def _resolve(derived: DerivedStore, rules: AccountRules, *, settled: bool) -> None:
    """Resolve what each business event counts for: by its own identifiers, then refunds by their purchases."""
    derived.run("choose_by_touch")
    derived.run("value_choices", following=False)
    derived.run("resolve_touches")
    if settled:
        derived.run("resolve_settled")
    if rules.refund_types:
        derived.run("choose_by_purchase")
        derived.run("value_choices", following=True)
        derived.run("resolve_refunds")
