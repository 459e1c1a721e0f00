-- Which of these accounts something was received for last.
SELECT account_id
FROM source_activity
WHERE account_id IN {account_ids:Array(String)}
GROUP BY account_id
ORDER BY max(minute) DESC, account_id
LIMIT 1
