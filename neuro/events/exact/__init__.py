"""Continuous time: every threshold crossing of the model."""
