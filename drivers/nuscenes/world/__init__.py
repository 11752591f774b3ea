"""A world that can be driven and recorded: roads, traffic, lights, all made from a seed."""
