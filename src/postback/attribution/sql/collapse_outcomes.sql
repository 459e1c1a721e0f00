-- Lets only the newest outcome of each event remain.
OPTIMIZE TABLE attribution FINAL
