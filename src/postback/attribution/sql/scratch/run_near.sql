-- Scratch of a run: the sources in which a refund of one source finds its purchase. Empty where no goal names refunds.
CREATE TEMPORARY TABLE run_near (event_source_id String, near Array(String)) ENGINE = Memory
