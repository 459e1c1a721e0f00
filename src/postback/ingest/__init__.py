"""The ingest path: what happens to an event between the request's bytes and the stored row."""
