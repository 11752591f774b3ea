"""Kinds of surface, by which the kernels choose a texture."""

from enum import IntEnum


class Look(IntEnum):
    """How the surface of a face looks. DISC and LEAVES leave out what is outside an ellipse."""

    PLAIN = 0
    DISC = 1
    LEAVES = 2
    WINDOWS = 3
    GLOW = 4  # a disc that shines by itself
    SHADOW = 5  # darkens the ground, hides nothing
