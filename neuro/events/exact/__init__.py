"""The exact clock: every threshold crossing of the model in continuous time."""
