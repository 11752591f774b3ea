"""The bench of reasoning: what is trained, by seed, and what the arms show."""
