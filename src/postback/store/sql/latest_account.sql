-- Which of these accounts something was received for last, and in which minute.
SELECT account_id, max(minute) AS latest
FROM source_activity
WHERE account_id IN {account_ids:Array(String)}
GROUP BY account_id
ORDER BY latest DESC, account_id
LIMIT 1
