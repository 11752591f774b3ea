"""The connectome of a fly's whole brain: the files of Shiu et al. 2024, or a random stand-in.

The files are those of github.com/philshiu/Drosophila_brain_model. Version 783 of FlyWire has
138,639 neurons, 15,091,983 connected pairs, and 54,492,922 synapses.
Axes: N neurons, E connected pairs.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from neuro.base.extras import require_extra
from neuro.graph import Sparse

NEURONS, PAIRS = 138_639, 15_091_983
# Synapses per pair: log-normal, rounded up. The two parameters follow from the number of pairs
# with at least 2 synapses (7,595,967) and 5 (2,700,513). The mean is 3.65; the file's is 3.61.
LOG_MEAN, LOG_SPREAD = 0.0124, 1.4943
DEGREE_SPREAD = 1.2  # log-normal sigma; the largest degrees are near 10,000, as in the file
EXCITATORY = 9_059_302 / PAIRS  # share of excitatory pairs
ENDS, COUNT = ("Presynaptic", "Postsynaptic"), "Excitatory x Connectivity"


class Connectome(NamedTuple):
    """Neurons and their connections.

    ids: FlyWire's id of each neuron; 0 to N - 1 if the connectome is generated.
    connections: from all neurons to all. The float32 weight of a pair is its number of
        synapses, negative if the source neuron is inhibitory.
    """

    ids: Int[np.ndarray, " N"]
    connections: Sparse


def read_connectome(neurons: Path, connections: Path) -> Connectome:
    """Read Completeness_783.csv and Connectivity_783.parquet, or the files of version 630.

    Raises:
        RuntimeError: pyarrow is not installed; says how to install it.
        OSError, ValueError: a file cannot be read or has another format; names the file.
    """
    try:
        lines = neurons.read_text().splitlines()[1:]
        ids = np.array([int(line.split(",")[0]) for line in lines], np.int64)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{neurons}: each line must begin with an id; {error}") from error
    if ids.size == 0 or np.unique(ids).size < ids.size:
        raise ValueError(f"{neurons}: must list at least one neuron, and each once")
    table = _read_columns(connections)
    for end in ENDS:
        index = table[f"{end}_Index"]
        inside = ((index >= 0) & (index < ids.size)).all()
        if not inside or (ids[index] != table[f"{end}_ID"]).any():
            raise ValueError(
                f"{connections}: {end}_Index and {end}_ID must name a neuron of {neurons}; "
                "take both files from one version of FlyWire"
            )
    source, target = (table[f"{end}_Index"] for end in ENDS)
    weight, shape = table[COUNT].astype(np.float32), (ids.size, ids.size)
    return Connectome(ids, Sparse.from_coo(source, target, weight, shape=shape))


def draw_connectome(seed: int, neurons: int = NEURONS, pairs: int = PAIRS) -> Connectome:
    """Return a random connectome with statistics of version 783 (6 s at full size).

    It matches the numbers of neurons and pairs, the distribution of synapses per pair, the
    largest degrees and the excitatory share. No neuron connects to itself, and no pair occurs
    twice. Degrees are log-normal; a neuron's in-degree is independent of its out-degree. Cell
    types, motifs and regions of the brain are not modelled.

    Raises:
        ValueError: ``pairs`` is negative or above a tenth of all possible pairs.
    """
    most = neurons * (neurons - 1) // 10
    if not 0 <= pairs <= most:
        raise ValueError(
            f"pairs is {pairs}; it must be from 0 to {most}, a tenth of all possible pairs"
        )
    rng = np.random.default_rng(seed)
    out, into = rng.lognormal(0.0, DEGREE_SPREAD, (2, neurons))
    below = np.cumsum(into)
    below /= below[-1]
    keys = np.zeros(0, np.int64)  # source * neurons + target, sorted
    while keys.size < pairs:
        tries = pairs - keys.size
        tries += tries // 50  # about one draw in fifty is a duplicate or a self-connection
        source = np.repeat(np.arange(neurons), rng.multinomial(tries, out / out.sum()))
        target = np.searchsorted(below, rng.random(tries), "right")
        keys = np.union1d(keys, (source * neurons + target)[source != target])
    surplus = rng.choice(keys.size, keys.size - pairs, replace=False, shuffle=False)
    source, target = np.divmod(np.delete(keys, surplus), neurons)
    sign = np.where(rng.random(neurons) < EXCITATORY, 1, -1)[source]
    synapses = np.ceil(rng.lognormal(LOG_MEAN, LOG_SPREAD, pairs))
    connections = Sparse(
        indptr=np.searchsorted(source, np.arange(neurons + 1)),
        indices=target,
        weight=(sign * synapses).astype(np.float32),
        shape=(neurons,),
    )
    return Connectome(np.arange(neurons), connections)


def _read_columns(path: Path) -> dict[str, np.ndarray]:
    names = (*(f"{end}_{kind}" for end in ENDS for kind in ("Index", "ID")), COUNT)
    with require_extra("connectome", "parquet files need pyarrow"):
        from pyarrow import parquet
    try:
        table = parquet.read_table(path, columns=[*names])
        columns = {name: np.asarray(table[name]) for name in names}
        return {k: column.astype(np.int64, casting="safe") for k, column in columns.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: no table of connections; {error}") from error
