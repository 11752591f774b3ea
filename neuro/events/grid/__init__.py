"""The grid clock: the event engine in ticks of dt, which computes node by node."""
