-- From now on the results of older events stay, and rows that are older still may lose their payload.
INSERT INTO retention (settled_before, dropped_before)
VALUES (fromUnixTimestamp64Micro({settled_before:Int64}, 'UTC'), fromUnixTimestamp64Micro({dropped_before:Int64}, 'UTC'))
