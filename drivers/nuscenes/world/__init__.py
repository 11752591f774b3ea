"""A simulated world for driving and recording: roads, traffic and lights from a seed."""
