"""``neuro bench``: neuro beside other simulators, on this machine."""
