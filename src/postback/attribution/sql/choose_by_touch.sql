-- The goal that each matched business event counts by: the first whose window holds between the exposure and the goal's lead event.
INSERT INTO run_choice
SELECT
    number, 0, rule_set, currency,
    arrayFirst(
        option -> toUnixTimestamp64Micro(siblings[option.3].3) - toUnixTimestamp64Micro(exposure_at)
            BETWEEN 0 AND if(exposure_kind = 'click', option.4, option.5),
        goal_options
    ),
    event_type, siblings
FROM
(
    SELECT number, match.rule_set AS rule_set, exposure_at, exposure_kind, sibling_set, event_type, siblings
    FROM run_business AS business
    INNER JOIN run_match AS match USING (number)
) AS matched
INNER JOIN run_rule AS rule USING (sibling_set, rule_set)
