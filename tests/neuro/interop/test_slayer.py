import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn

from neuro.base.seeds import seeded
from neuro.interop.imported import verify_import
from neuro.interop.lava_dl import NetFileError
from neuro.interop.neuron_reader import CaptureError
from neuro.interop.slayer import import_module

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of a toolbox that lava-dl looks for
    slayer = pytest.importorskip(
        "lava.lib.dl.slayer", reason="lava-dl is not installed: make setup"
    )
cuba = slayer.block.cuba
P = {"threshold": 1.0, "current_decay": 0.5, "voltage_decay": 0.5}


def draw_module(seed: int) -> tuple[nn.ModuleList, tuple[int, ...]]:
    """Return random blocks with delays, norms, loops or convolutions, and their input shape."""
    rng = np.random.default_rng(seed)
    p: dict[str, Any] = {
        "threshold": rng.uniform(0.5, 1.5),
        "current_decay": rng.uniform(0.1, 1),
        "voltage_decay": rng.uniform(0.02, 0.5),
    }
    late = bool(rng.integers(2))
    shift = bool(rng.integers(2))
    shape: tuple[int, ...] = (6,)
    kind = rng.integers(3)
    if kind == 0:
        shape, stride = (2, 6, 5), int(rng.integers(1, 3))
        conv = cuba.Conv(
            p, 2, 4, 3, padding=1, stride=stride, weight_scale=2, delay_shift=shift, delay=late
        )
        size = 4 * 30 if stride == 1 else 4 * 9
        blocks = [
            conv,
            cuba.Flatten(),
            cuba.Dense(p, size, 7, weight_scale=2, delay_shift=shift),
        ]
    elif kind == 1:
        first = cuba.Dense(p, 6, 8, weight_scale=3, delay_shift=shift, delay=late)
        loop = cuba.Recurrent(p, 8, 5, weight_scale=2, delay_shift=shift)
        blocks = [first, loop, cuba.Dense(p, 5, 3, weight_scale=3, delay_shift=shift)]
    else:
        norm = {**p, "norm": slayer.neuron.norm.MeanOnlyBatchNorm}
        blocks = [
            cuba.Dense(norm, 6, 8, weight_scale=3, delay_shift=shift, delay=late),
            cuba.Dense(p, 8, 5, weight_scale=3, delay_shift=shift),
        ]
    module = nn.ModuleList(blocks)
    with torch.no_grad():
        x = torch.from_numpy((rng.random((4, *shape, 30)) < 0.4).astype(np.float32))
        for block in module:  # shapes, delays, the means of norms
            x = block(x)
            if getattr(block, "delay", None) is not None:
                wait = block.delay.delay
                wait.copy_(torch.from_numpy(rng.uniform(0, 9, wait.shape).astype(np.float32)))
    return module, shape


@pytest.mark.slow
@given(seed=st.integers(0, 10**6))
def test_every_spike_is_that_of_slayers_forward(seed: int) -> None:
    with seeded(seed):
        module, shape = draw_module(seed)
    network = import_module(module, shape)
    rows = verify_import(network, ticks=24, samples=3, seed=seed)
    assert {row.population for row in rows} == {*network.graph.populations}
    assert all(row.agrees and row.error == 0 for row in rows)
    # Values that are no spikes have no form on a chip, and are not compared.
    assert not [row for row in rows if not row.stimulus.startswith("spikes")]
    assert sum(row.spikes for row in rows) > 0


def test_the_module_stays_as_it_was_and_the_first_run_is_like_the_second() -> None:
    p = {"threshold": 1.0, "current_decay": 0.2, "voltage_decay": 0.1}
    module = nn.Module()
    module.blocks = nn.ModuleList([cuba.Recurrent(p, 3, 4), cuba.Dense(p, 4, 2)])
    network = import_module(module, (3,))
    assert module.training
    assert module.blocks[0].neuron.shape is None  # it never ran
    x = {"input": np.ones((9, 2, 3))}
    one, other = network.run_source(x), network.run_source(x)
    for name in one.outputs:
        assert one.outputs[name].shape == (9, 2, *network.graph.shapes[name])
        np.testing.assert_array_equal(one.outputs[name], other.outputs[name])


@pytest.mark.parametrize(
    ("module", "told"),
    [
        (nn.Linear(6, 2), "Linear has no blocks; put them in order into"),
        (nn.ModuleList([nn.Linear(6, 2)]), "ModuleList holds Linear; only blocks of lava"),
        (nn.ModuleList(), "ModuleList holds no block; only blocks"),
        (
            nn.ModuleList([cuba.Dense(P, 5, 2)]),
            "shape (6,): ",
        ),
        (
            nn.ModuleList(
                [
                    cuba.Input(P),
                    cuba.Dense(P, 6, 2),
                ]
            ),
            "the first block codes images with neurons; write the network with export_hdf5",
        ),
    ],
)
def test_what_is_no_sequence_of_blocks_is_refused(module: nn.Module, told: str) -> None:
    with pytest.raises(CaptureError) as e:
        import_module(module, (6,))
    assert told in str(e.value)


def test_blocks_share_one_delay_shift() -> None:
    module = nn.ModuleList([cuba.Dense(P, 6, 4), cuba.Dense(P, 4, 3, delay_shift=False)])
    with pytest.raises(CaptureError, match="its blocks differ in delay_shift; give all"):
        import_module(module, (6,))


def test_blocks_without_a_form_in_integers_are_refused_by_their_layer() -> None:
    rf = slayer.block.rf.Dense({"threshold": 1.0, "period": 7.0, "decay": 0.1}, 4, 3)
    module = nn.ModuleList([cuba.Dense(P, 6, 4), rf])
    with pytest.raises(NetFileError) as e:
        import_module(module, (6,))
    assert "layer/2" in str(e.value)
