"""What Postback costs and what it bears: ``python -m benchmarks``, or ``make bench``."""
