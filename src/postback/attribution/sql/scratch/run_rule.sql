-- Scratch of a run, for every sibling set and rule set: how the goals that name one of the siblings count them, first choice first.
CREATE TEMPORARY TABLE run_rule
(
    sibling_set UInt32,
    rule_set UInt32,
    currency String,
    goal_options Array(Tuple(
        goal UInt16,
        source_rank UInt16,
        lead UInt16,
        click_us Int64,
        view_us Int64,
        valued UInt16,
        field UInt16,
        factor Decimal(38, 18),
        refund Bool
    ))
)
ENGINE = Memory
