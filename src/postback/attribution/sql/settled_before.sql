-- The results of events from before this time stay, in µs since the epoch; the least number when retention has settled none.
SELECT if(count() = 0, toInt64(-9223372036854775808), toUnixTimestamp64Micro(max(settled_before))) FROM retention
