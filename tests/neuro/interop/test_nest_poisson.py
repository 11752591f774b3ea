"""A Poisson node in NEST: a generator for each rate, and parrots where spikes are shared."""

from pathlib import Path

import numpy as np
import pytest
from written_graphs import chain

from neuro.base.units import Seconds
from neuro.graph import Dense, Graph, Poisson
from neuro.interop import nest
from neuro.interop.nest_script import load
from neuro.neurons import LIF

RATES = np.array([10.0, 40.0, 90.0, 40.0])
TICKS, SAMPLES, DT = 20_000, 2, 1e-3
# Every event of the source makes its target fire, unless it is refractory.
APART = np.diag([1.0, 1.5, 2.0, 1.25])
SHARED = np.array([[0, 0, 2.0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.5], [1.25, 0, 0, 0]])


def relay(weight: np.ndarray, rate: float | np.ndarray = RATES) -> Graph:
    cells = LIF(tau=0.02, threshold=0.9, reset="hard", refractory=Seconds(DT))
    source = Poisson(rate=rate, shape=(4,), seed=9)
    return chain(DT, p=source, w=Dense(weight=weight), n=cells)


def test_an_export_has_rates_weights_and_delays(tmp_path: Path) -> None:
    script = nest.export(relay(SHARED), {}, tmp_path, ticks=70)
    assert "poisson_generator" in script.read_text()
    network = load(tmp_path / "network.npz")
    assert (network.ticks, network.seed, network.stimuli) == (70, 10, {})
    np.testing.assert_array_equal(network.poisson["p"], RATES)
    (synapses,) = network.synapses
    order = np.lexsort((synapses.post, synapses.pre))
    assert synapses.pre[order].tolist() == [0, 2, 2, 3]
    assert synapses.post[order].tolist() == [3, 0, 1, 2]
    assert synapses.weight[order].tolist() == [1.25, 2.0, 1.0, 1.5]
    assert synapses.delay.tolist() == [0.0] * 4
    nest.export(relay(SHARED, rate=33.0), {}, tmp_path, ticks=70)
    assert load(tmp_path / "network.npz").poisson["p"].tolist() == [33.0] * 4


def test_an_export_needs_its_length(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ticks is not given, and there is no Input"):
        nest.export(relay(APART), {}, tmp_path)


@pytest.mark.sample(precise=True)
@pytest.mark.slow
@pytest.mark.parametrize("precise", [True, False])
def test_rates_are_those_of_the_graph_and_spikes_are_shared_as_in_it(precise: bool) -> None:
    pytest.importorskip("nest")
    source = {"apart": np.arange(4), "shared": np.array([2, 2, 3, 0])}
    for name, weight in (("apart", APART), ("shared", SHARED)):
        record = nest.run(relay(weight), {}, precise=precise, ticks=TICKS, samples=SAMPLES)
        spikes = record.spikes["n"]
        assert list(record.spikes) == ["n"]
        raster = np.zeros((SAMPLES, TICKS, 4))
        raster[spikes.sample, spikes.tick, spikes.neuron] = 1
        found = raster.sum((0, 1))
        p = -np.expm1(-RATES[source[name]] * DT)  # an event in a tick
        p = p if precise else p / (1 + p)  # on the grid a neuron rests a tick longer
        n = SAMPLES * TICKS
        assert (np.abs(found - n * p) < 4 * np.sqrt(n * p)).all()
        assert (raster[0] != raster[1]).any()
        assert (raster[..., 0] == raster[..., 1]).all() == (name == "shared")
