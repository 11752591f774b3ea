"""The grid clock: whole ticks of dt, node by node."""
