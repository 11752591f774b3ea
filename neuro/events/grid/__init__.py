"""The grid clock: the event engine in ticks of dt, computed node by node."""
