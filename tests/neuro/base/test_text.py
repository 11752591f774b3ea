import numpy as np
import torch

from neuro.base.text import align_columns, format_model, format_shape, format_value
from neuro.graph import Conv2d, Dense
from neuro.neurons import ALIF, IF, LIF


def test_a_model_is_told_by_what_was_given_and_arrays_by_their_sizes() -> None:
    assert format_model(ALIF()) == "ALIF(leak=0.5, threshold=0.5)"
    assert (
        format_model(LIF(tau=0.02, tau_syn=0.005))
        == "LIF(tau=0.02, threshold=1, tau_syn=0.005)"
    )
    assert format_model(IF(reset="hard")) == "LIF(tau=inf, threshold=1, reset='hard')"
    leak = np.full((3, 1, 1), 0.1)
    told = "ALIF(leak=float32[3, 1, 1], threshold=0.5, beta=0.2)"
    assert format_model(ALIF(leak=leak, beta=0.2)) == told
    assert format_model(ALIF(surrogate=torch.relu)) == (
        "ALIF(leak=0.5, threshold=0.5, surrogate=relu)"
    )
    weight = np.ones((3, 4, 5, 5), np.float32)
    assert format_model(Conv2d(weight=weight)) == "Conv2d(weight=float32[3, 4, 5, 5])"
    assert format_model(Conv2d(weight=weight, stride=(2, 2))) == (
        "Conv2d(weight=float32[3, 4, 5, 5], stride=(2, 2))"
    )
    assert format_model(Dense(weight=np.ones((2, 3)), bias=np.ones(2))) == (
        "Dense(weight=float64[2, 3], bias=float64[2])"
    )


def test_values_are_told_in_a_few_characters() -> None:
    told = [format_value(v) for v in (torch.zeros(2, 3), np.float64(0.1), "a", None, (1, 2))]
    assert told == ["float32[2, 3]", "0.1", "'a'", "None", "(1, 2)"]
    assert [format_shape(s) for s in ((1, 28, 28), (5,), ())] == ["1 x 28 x 28", "5", "1"]


def test_columns_of_numbers_end_together_and_others_begin_so() -> None:
    table = align_columns([("node", "synapses"), ("fc", "1,024"), ("longer", ""), ("x", "7")])
    assert table.splitlines() == [
        *("node    synapses", "─" * 16, "fc         1,024", "longer", "x              7")
    ]
