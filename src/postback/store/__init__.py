"""Where things are kept: events in ClickHouse, accounts, keys and configuration in SQL."""
