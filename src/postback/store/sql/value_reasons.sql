-- Per source of an account and reason: how many of its events of the last seven days count no value, or not all of it.
SELECT event_source_id, value_reason, count()
FROM attribution FINAL
WHERE account_id = {account_id:String} AND received_at > now64(6, 'UTC') - INTERVAL 7 DAY AND value_reason != ''
GROUP BY event_source_id, value_reason
ORDER BY event_source_id, count() DESC, value_reason
