import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn

from neuro.base.seeds import seeded
from neuro.interop import lava_dl
from neuro.interop.imported import verify_import
from neuro.interop.lava_dl import NetFileError
from neuro.interop.neuron_reader import CaptureError
from neuro.interop.slayer import import_module
from neuro.nn import replay
from neuro.spikes import to_events, to_raster

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


def draw_coder(seed: int) -> tuple[nn.ModuleList, np.ndarray]:
    """Return random sigma-delta blocks with norms and delays, and images (T B *N) in 1/64."""
    rng, coder = np.random.default_rng(seed), slayer.block.sigma_delta
    p = {"threshold": float(rng.choice([0, 1 / 64, 0.2, 0.5])), "activation": torch.relu}
    norm = {**p, "norm": slayer.neuron.norm.MeanOnlyBatchNorm}
    late, stride, conv = bool(rng.integers(2)), int(rng.integers(1, 3)), bool(seed % 2)
    shape: tuple[int, ...] = (2, 6, 5) if conv else (6,)
    blocks = [coder.Input(p)]
    if conv:
        keys = {"padding": 1, "stride": stride, "delay": late}
        blocks += [coder.Conv(norm, 2, 4, 3, weight_scale=2, **keys), coder.Flatten()]
    size = {1: 120, 2: 36}[stride] if conv else 6
    blocks.append(coder.Dense(norm, size, 7, weight_scale=2, delay=not late))
    blocks.append(coder.Output(p, 7, 3, weight_scale=2))
    image = rng.integers(-32, 33, (20, 2, *shape)) * 2  # in the steps of SLAYER's images
    image = image if late else image[::5].repeat(5, 0)
    module, x = nn.ModuleList(blocks), torch.from_numpy(image / 64).float().movedim(0, -1)
    with torch.no_grad():  # shapes, delays, the means of norms
        for block in module:
            x = block(x)
            if getattr(block, "delay", None) is not None:
                wait = block.delay.delay
                wait.copy_(torch.from_numpy(rng.uniform(0, 6, wait.shape).astype(np.float32)))
            if getattr(getattr(block, "neuron", None), "norm", None) is not None:
                mean = block.neuron.norm.running_mean
                mean += torch.from_numpy(rng.uniform(-0.6, 0.6, mean.shape)).float()
    return module.eval(), image


def run_coder(module: nn.ModuleList, image: np.ndarray) -> list[np.ndarray]:
    """Return what each population sends or shows (T B N), in weight units, before delays."""
    x, out = torch.from_numpy(image / 64).float().movedim(0, -1), list[np.ndarray]()
    for block in module:
        neuron, seen = getattr(block, "neuron", None), list[torch.Tensor]()
        if neuron is not None:
            kind = type(block).__name__
            part = {"Input": neuron.delta, "Output": neuron.sigma}.get(kind, neuron)
            part.register_forward_hook(lambda _, __, y, kept=seen: kept.append(y))
        x = block(x).detach()
        if seen:
            out.append(64 * seen[0].detach().movedim(-1, 0).flatten(2).numpy())
    return out


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_every_message_is_that_of_slayers_sigma_delta_blocks(seed: int, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with seeded(seed):
        module, image = draw_coder(seed)
    with h5py.File(tmp_path / "a.net", "w") as file:
        for k, block in enumerate(module):
            block.export_hdf5(file.create_group(f"layer/{k}"))
    graph = lava_dl.read(tmp_path / "a.net").graph
    record = replay(graph, {"input": to_events(image)})
    for name, wanted in zip(graph.populations, run_coder(module, image), strict=True):
        got = record.values.get(name)
        got = to_raster(record.spikes[name]) if got is None else got
        assert np.array_equal(got.reshape(wanted.shape), wanted), name
        assert wanted.any()


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
        (
            nn.ModuleList(
                [
                    slayer.block.sigma_delta.Dense(
                        {"threshold": 0.1, "activation": torch.relu}, 6, 2
                    )
                ]
            ),
            "the blocks code changes with neurons; write the network with export_hdf5",
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
