-- Whether the parts that a merge replaced by this one are still there: they reach from its first block to its last.
SELECT count() > 0
    AND min(min_block_number) = any(first_block)
    AND max(max_block_number) = any(last_block)
FROM system.parts
CROSS JOIN
(
    SELECT min_block_number AS first_block, max_block_number AS last_block, partition_id AS its_partition
    FROM system.parts
    WHERE database = currentDatabase() AND table = {table:String} AND name = {part:String} AND active
) AS merged
WHERE database = currentDatabase() AND table = {table:String} AND NOT active AND partition_id = its_partition
    AND min_block_number >= first_block AND max_block_number <= last_block
