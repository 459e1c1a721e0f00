-- Scratch of a run: the hashes of the exposure_ids that are new and came several times.
CREATE TEMPORARY TABLE run_repeated_exposure (exposure_hash UInt64) ENGINE = Memory
