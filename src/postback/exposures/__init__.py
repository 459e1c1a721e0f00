"""Exposures: the impressions and clicks that conversions are attributed to."""
