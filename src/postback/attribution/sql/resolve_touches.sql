-- What the business events count for that are attributed by their own identifiers.
INSERT INTO run_result
SELECT
    number, 0, media_buy_id, package_id, choice.rule_set, option.1, option.2, option.3, exposure_id, exposure_kind, exposure_at,
    creative_id, match_kind, siblings[option.3].3, event_type, siblings[option.3].5, true, if(option.9, 0, 1),
    if(option.9, -worth, worth), value_reason, if(option.9, -left_out, left_out), left_out_currency
FROM run_choice AS choice
INNER JOIN run_match AS match USING (number)
INNER JOIN run_worth AS worth USING (number)
