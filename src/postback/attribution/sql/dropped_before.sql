-- Rows from before this time lose their match keys, in µs since the epoch; the least number when retention has settled none.
SELECT if(count() = 0, toInt64(-9223372036854775808), toUnixTimestamp64Micro(max(dropped_before))) FROM retention
