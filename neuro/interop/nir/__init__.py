"""NIR, the Neuromorphic Intermediate Representation: files and graphs to Graphs and back."""

from neuro.interop.nir.file import NirError
from neuro.interop.nir.reader import read
from neuro.interop.nir.spikes import read_spikes, write_spikes
from neuro.interop.nir.steps import NirStep
from neuro.interop.nir.writer import to_nir, write

__all__ = ["NirError", "NirStep", "read", "read_spikes", "to_nir", "write", "write_spikes"]
