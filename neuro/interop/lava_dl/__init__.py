"""Networks of lava-dl: ``.net`` files as Graphs in the integers of Loihi."""

from neuro.interop.lava_dl.network import Time, make_graph, read
from neuro.interop.lava_dl.read import NetFile, NetFileError, NetLayer, read_net

__all__ = ["NetFile", "NetFileError", "NetLayer", "Time", "make_graph", "read", "read_net"]
