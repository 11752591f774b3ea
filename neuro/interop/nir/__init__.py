"""NIR, the Neuromorphic Intermediate Representation: its files and graphs as Graphs."""

from neuro.interop.nir.file import NirError
from neuro.interop.nir.reader import read
from neuro.interop.nir.steps import NirStep

__all__ = ["NirError", "NirStep", "read"]
