"""Event sources: where conversions come from, and how each is configured."""
