"""What AdCP's storyboards leave untested of conversion tracking, as checks for any seller's server."""
