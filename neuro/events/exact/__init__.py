"""The exact clock: finds every threshold crossing of the model in continuous time."""
