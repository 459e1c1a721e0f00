-- Scratch of a run: the combinations of event kinds that business events have, by number: first each event kind alone. A role stands for one of the siblings that lead in some goal.
CREATE TEMPORARY TABLE run_sibling_set
(
    sibling_set UInt32,
    kinds Array(UInt32),
    may_refund Bool,
    roles Array(Tuple(role UInt32, sibling UInt16))
)
ENGINE = Memory
