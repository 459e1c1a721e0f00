"""Backups of a data folder: how they are made beside a running server, and restored."""
