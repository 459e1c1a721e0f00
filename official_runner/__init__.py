"""Postback against the official AdCP runner and storyboards."""
