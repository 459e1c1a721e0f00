-- Leaves only the newest outcome of each event.
OPTIMIZE TABLE attribution FINAL
