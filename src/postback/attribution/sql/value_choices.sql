-- The value of each choice in the buy's currency, or the reason why it is 0; for refunds as a positive amount. multiplyDecimal takes 10 µs, so an array keeps it from rows whose factor is 1.
INSERT INTO run_worth
WITH (SELECT field FROM run_field WHERE name = 'value') AS value_field
SELECT
    number, follows,
    if(reason = '' AND option.8 != 0, size, JSONExtract('0', 'Decimal(38, 9)')),
    reason,
    if(reason IN ('OTHER_CURRENCY', 'NO_CURRENCY', 'NEGATIVE'), size, JSONExtract('0', 'Decimal(38, 9)')),
    if(reason IN ('OTHER_CURRENCY', 'NO_CURRENCY', 'NEGATIVE'), valued.8, ''),
    valued.7[value_field] OR field_stated
FROM
(
    SELECT
        number, follows, currency, option, siblings[if(option.6 > 0, option.6, option.3)] AS valued,
        if(option.6 > 0, valued.7[option.7], valued.7[value_field]) AS field_stated,
        if(option.6 > 0, valued.6[option.7], NULL) AS amount,
        if(
            option.8 = 1,
            amount,
            arrayMap(
                each -> JSONExtract(
                    concat('"', toString(multiplyDecimal(each, option.8, 9)), '"'), 'Nullable(Decimal(38, 9))'
                ),
                if(option.8 = 1, [], [amount])
            )[1]
        ) AS product,
        ifNull(if(option.9, abs(product), product), JSONExtract('0', 'Decimal(38, 9)')) AS size,
        multiIf(
            option.6 = 0, if(follows > 0 AND field_stated, 'NO_VALUE_FIELD', ''),
            NOT field_stated, if(follows > 0 AND NOT valued.7[value_field], '', 'NO_VALUE_FIELD'),
            isNull(amount), 'NOT_A_NUMBER',
            valued.8 = '', 'NO_CURRENCY',
            valued.8 != currency, 'OTHER_CURRENCY',
            option.8 = 0, 'ZERO_FACTOR',
            product < 0 AND NOT option.9, 'NEGATIVE',
            ''
        ) AS reason
    FROM run_choice
    WHERE (follows > 0) = {following:Bool}
)
