-- Of the run at work, for every kind and class: the longest windows in µs (-1: not named), and what a goal makes of an event, first choice first.
CREATE TABLE IF NOT EXISTS run_rule
(
    kind UInt32,
    class UInt32,
    currency String,
    click_us Int64,
    view_us Int64,
    options Array(Tuple(
        goal UInt16,
        source_rank UInt16,
        click_us Int64,
        view_us Int64,
        field UInt16,
        factor Decimal(38, 18),
        refund Bool
    ))
)
ENGINE = Memory
