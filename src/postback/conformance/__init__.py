"""Checks of conversion tracking for any seller's server: what AdCP's storyboards leave untested."""
