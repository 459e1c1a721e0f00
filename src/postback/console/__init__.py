"""The console: pages for people who look at what was logged, matched and reported."""
