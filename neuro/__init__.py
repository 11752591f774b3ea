"""neuro."""
