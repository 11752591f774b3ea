"""The bench of flow: what is trained, by seed, and what arms and controls show."""
