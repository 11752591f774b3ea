"""NIR graphs for tests: a chain of given nodes."""

from itertools import pairwise

import nir
import numpy as np


def chain(*nodes, inputs, outputs):
    """Return a NIR graph of these nodes in a row, n0, n1, ... from "input" to "output"."""
    names = [f"n{k}" for k in range(len(nodes))]
    members = {"input": nir.Input(np.array(inputs)), **dict(zip(names, nodes, strict=True))}
    members["output"] = nir.Output(np.array(outputs))
    edges = list(pairwise(["input", *names, "output"]))
    return nir.NIRGraph(nodes=members, edges=edges, type_check=False)
