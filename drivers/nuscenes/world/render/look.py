"""Kinds of surface, each with a texture in the kernels."""

from enum import IntEnum


class Look(IntEnum):
    """The surface of a face. DISC and LEAVES are empty outside an ellipse."""

    PLAIN = 0
    DISC = 1
    LEAVES = 2
    WINDOWS = 3
    GLOW = 4  # a disc that shines by itself
    SHADOW = 5  # darkens the ground
