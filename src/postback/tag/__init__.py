"""The browser tag: the script that pages load, and the endpoint that it sends events to."""
