"""``neuro export --chip xylo``: integers beside floats, or every reason against them."""

import math
from typing import Any

import numpy as np
import pytest
from written_graphs import chain

from lava_export import LowerError, RuleBreach
from neuro.energy import load_one_core_chips
from neuro.graph import Dense, Graph, Input
from neuro.neurons import LI, LIF
from neuro.spikes import to_events
from tasks.measures.export_to_chip import export_samples_to
from tasks.report.tables import describe_integers, tabulate_integers, tabulate_scaling
from tasks.runs.samples import Samples
from tasks.runs.task import ACCURACY

CHIP = load_one_core_chips()["xylo"]


def tau(shift: int) -> float:
    return -1e-3 / math.log1p(-(2.0**-shift))


def network(outputs: int = 2, **neuron: Any) -> Graph:
    rng = np.random.default_rng(5)
    cell = {"tau": tau(4), "tau_syn": tau(2), "reset": "soft", "threshold": 3.0, **neuron}
    return chain(
        x=Input(shape=(4,)),
        w=Dense(weight=rng.normal(size=(6, 4))),
        n=LIF(**cell),
        on=Dense(weight=rng.normal(size=(outputs, 6))),
        out=LI(tau=tau(3)),
    )


def samples(n: int = 5) -> Samples:
    rng = np.random.default_rng(n)
    x = (rng.random((30, n, 4)) < 0.2).astype(np.float32)
    return Samples({"x": to_events(x)}, np.arange(n) % 2)


def test_both_run_on_all_batches_and_are_compared_layer_by_layer() -> None:
    program, found = export_samples_to(network(), [samples(), samples(3)], CHIP)
    assert (found["n"], found["ticks"], found["chip"]) == (8, 30, "Xylo Audio 2 (Rockpool)")
    assert [row["layer"] for row in found["scaling"]] == ["n", "out"]
    spikes = found["layers"]["n"]
    assert spikes["spikes"] > 20
    assert spikes["differ"] < 0.05
    assert found["layers"]["out"]["differ"] < 0.2
    assert set(found["metrics"]["accuracy"]) == {"floats", "integers"}
    assert program.program.shift > 0  # chosen on the first batch
    assert found["errors"]["accuracy"] >= 0
    found["metrics"]["accuracy"] |= {"floats": 0.75, "integers": 0.625}
    cost = ACCURACY.describe_change(-0.125, found["errors"]["accuracy"], 8)
    told = describe_integers(found, (ACCURACY,))
    assert told[0].startswith("8 test samples of 30 ticks")
    assert told[1] == f"cost of quantisation in accuracy: {cost}"
    assert tabulate_integers(found).row_count == 2
    assert "2^15" in str(tabulate_scaling(found["scaling"], "worst\n/ 2^15").columns[-1].header)


def test_excess_of_all_batches_stands_in_one_line() -> None:
    _, found = export_samples_to(network(threshold=0.3), [samples(), samples(3)], CHIP)
    (line,) = found["excess"]
    assert line.startswith("n: fired more than once in a tick ")
    assert " of 1,440" in line  # 30 ticks, 8 samples, 6 neurons


def test_what_xylo_lacks_and_what_is_too_large_are_refused() -> None:
    with pytest.raises(LowerError, match="n: a hard reset"):
        export_samples_to(network(reset="hard"), samples(), CHIP)
    with pytest.raises(RuleBreach, match="Xylo Audio 2 has 8 output neurons"):
        export_samples_to(network(outputs=9), samples(), CHIP)
