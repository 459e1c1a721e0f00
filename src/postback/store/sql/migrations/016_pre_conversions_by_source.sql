-- Sums of conversions by the source of the event that counts, and what refunds subtract. Attribution sums anew what was summed before.
ALTER TABLE conversion_hour ADD COLUMN IF NOT EXISTS event_source_id LowCardinality(String),
    ADD COLUMN IF NOT EXISTS refunds SimpleAggregateFunction(sum, Int64),
    ADD COLUMN IF NOT EXISTS refunded SimpleAggregateFunction(sum, Decimal(38, 9)),
    MODIFY ORDER BY (
        account_id, media_buy_id, package_id, hour, event_type, action_source, creative_id, value_reason, left_out_currency,
        event_source_id
    );
