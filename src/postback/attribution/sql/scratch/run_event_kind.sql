-- Scratch of a run: the event kinds that goals name, by number; a name is type, source and custom event name, a line each. The sources that it is linked with, a line each, are empty for one that is linked with none.
CREATE TEMPORARY TABLE run_event_kind (event_kind UInt32, name String, linked String) ENGINE = Memory
