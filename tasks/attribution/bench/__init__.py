"""The bench of attribution: what is trained, by seed, and what methods and controls show."""
