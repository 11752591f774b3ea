"""Networks of lava-dl: ``.net`` files as programs."""

from lava_export.net.layers import NetProgramError, Time, make_program
from lava_export.net.read import NetFile, NetFileError, NetLayer, read_net

__all__ = [
    "NetFile",
    "NetFileError",
    "NetLayer",
    "NetProgramError",
    "Time",
    "make_program",
    "read_net",
]
