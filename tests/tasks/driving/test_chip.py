"""The spiking parts that a chip runs beside the decoder are those of the trained network."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from driving_windows import make_window, small_config
from torch import Tensor, nn
from written_graphs import wire

from neuro.base.seeds import seeded
from neuro.graph import Conv2d, Graph, Input
from neuro.neurons import LIF
from neuro.nn import Net
from neuro.spikes import to_events
from tasks.driving import data
from tasks.driving.batch import make_batch
from tasks.driving.chip import (
    CLOCK,
    count_ticks_of_a_frame,
    join_bits,
    make_encoder_graph,
    make_parts,
    split_bits,
    spread_frames,
    stretch,
)
from tasks.driving.config import DrivingConfig
from tasks.driving.model import Driver
from tasks.measures.verify import verify_samples
from tasks.runs.samples import NO_ANSWERS, Samples
from tasks.runs.task import Split

SMALL = small_config()
SWEEPS = replace(SMALL, source=replace(SMALL.source, sweeps=1))


@pytest.fixture(scope="module")
def model() -> Driver:
    """Return a network whose norms have seen something."""
    with seeded(0):
        model = Driver(SMALL)
    seen = make_batch([make_window(SMALL, k) for k in range(2)]).seen
    for norm in model.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            norm.momentum = None
    with torch.no_grad(), seeded(0):
        for _ in range(2):
            model(seen)
        nn.init.normal_(model.planner.refinement.end.weight)
    return model.eval()


def test_bits_say_the_value_to_a_thirty_second() -> None:
    x = torch.tensor([0.0, 1 / 32, -1.5, 2.75, 7.96875, -7.96875, 4.5, 0.51]).view(
        1, 1, 8, 1, 1
    )
    bits = split_bits(x)
    assert bits.shape == (1, 1, 144, 1, 1)
    assert set(bits.unique().tolist()) == {0, 1}
    found = join_bits(8).apply(bits[0], torch.tensor(join_bits(8).weight))
    expected = [0, 1 / 32, -1.5, 2.75, 7.96875, -7.96875, 4.5, 0.5]
    assert found.flatten().tolist() == expected
    assert float(split_bits(x[:, :, 1:2]).sum()) == 1


def test_values_beyond_the_bits_are_cut_off_with_a_word() -> None:
    x = torch.tensor([7.98, 7.99, -9.0]).view(1, 1, 3, 1, 1)  # 7.98 rounds to the largest
    with pytest.warns(UserWarning, match=r"2 of 3 real inputs .* exceed 7.97, .* is 9.00"):
        bits = split_bits(x)
    found = join_bits(3).apply(bits[0], torch.tensor(join_bits(3).weight))
    assert found.flatten().tolist() == [7.96875, 7.96875, -7.96875]


def test_the_encoder_is_one_graph_of_trunk_branches_and_pyramids(model: Driver) -> None:
    encoder = model.encoder
    graph = make_encoder_graph(encoder, (4, 8, 16), (2, 4))
    assert set(graph.outputs) == {"near_spikes", "features_conv_cells", "depth_conv_cells"}
    assert not graph.hosts
    seen = make_batch([make_window(SMALL, 3)]).seen
    with torch.no_grad():
        stem = encoder.stem(model.normalise(seen.images[0, -1])[None])[0]
        x = stem.expand(2, *stem.shape[1:])
        out, _ = Net(graph)({"stem": x})
        trunk, _ = encoder.trunk(x)
        near, far = encoder.near(trunk)[0], encoder.far(trunk)[0]
        whole = encoder.features.pyramid(far)
        own = encoder.features.pyramid.end.widen(out["features_conv_cells"].flatten(0, 1))
    assert near.any()
    # Norms that are folded into weights round otherwise.
    assert (out["near_spikes"] != near).float().mean() < 1e-3
    torch.testing.assert_close(own.unflatten(0, (2, 6)), whole, rtol=1e-4, atol=1e-4)


def loop(reset: str = "hard") -> Graph:
    """Return two neurons in a loop of one tick, with a bias."""
    one = np.full((1, 1, 1, 1), 0.7, np.float32)
    cell = LIF(tau=0.002, threshold=1.0, reset=reset)  # type: ignore[arg-type]
    nodes = {
        "in": Input(shape=(1, 1, 1)),
        "w": Conv2d(weight=one, bias=np.full(1, 0.25, np.float32)),
        "a": cell, "ab": Conv2d(weight=2 * one), "b": cell, "ba": Conv2d(weight=one),
    }  # fmt: skip
    return wire("in>w w>a a>ab ab>b b>ba:1 ba>a", nodes)


def test_a_stretched_graph_does_the_same_at_the_first_tick_of_each_frame() -> None:
    graph = loop()
    assert count_ticks_of_a_frame(graph) == 2
    long = stretch(graph, 2)
    assert set(long.inputs) == {"in", CLOCK}
    x = (torch.rand(20, 3, 1, 1, 1, generator=torch.Generator().manual_seed(1)) < 0.4).float()
    given = {"in": x, CLOCK: torch.ones_like(x)}
    with torch.no_grad():
        short, _ = Net(graph)({"in": x})
        found, _ = Net(long)({name: spread_frames(y, 2) for name, y in given.items()})
    for name in "ab":
        assert 0 < short[name].mean() < 1
        assert torch.equal(found[name][::2], short[name])
        assert not found[name][1::2].any()
    with pytest.raises(ValueError, match="a: must be a LIF with hard reset"):
        stretch(loop("soft"), 2)


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_split(config: DrivingConfig, split: Split) -> list:  # noqa: ARG001
        return [make_window(config, k) for k in range(2)]

    monkeypatch.setattr(data, "open_split", open_split)


@pytest.mark.usefixtures("windows")
def test_pathways_and_gru_do_the_same_in_their_stretched_ticks(model: Driver) -> None:
    parts = make_parts(SMALL, model)
    batch = make_batch([make_window(SMALL, k) for k in range(2)])
    with torch.no_grad():
        states = model.perceive(batch.seen).states
        fused = model.prediction.run_pathways(states, SMALL.future)
        stimulus = next(iter(parts["pathways"].stimuli("test")))
        out, _ = parts["pathways"].module(stimulus.inputs)
    step = len(out["a"]) // len(fused)
    assert step > 1
    got = (out["a"] + out["b"])[::step]
    assert fused.any()
    assert (got != fused).float().mean() < 0.02  # z is rounded to a thirty-second
    assert parts["GRU"].runs == parts["pathways"].runs == 1
    assert parts["encoder"].runs == 18


@pytest.mark.slow
@pytest.mark.usefixtures("windows")
@pytest.mark.parametrize("name", ["encoder", "uncertainty", "pathways", "start", "GRU"])
def test_each_part_runs_on_events_as_in_torch_and_lowers_to_integers(
    name: str, model: Driver
) -> None:
    part = make_parts(SMALL, model)[name]
    found = verify_samples(*trace_part(part), NO_ANSWERS, lava_samples=0)
    assert found["torch_events"]["mismatches"] == 0
    assert not found["torch_events"]["unexplained"]
    assert "misfits" not in found
    assert sum(layer["spikes"] for layer in found["torch_events"]["layers"].values()) > 0


@pytest.mark.slow
@pytest.mark.usefixtures("windows")
def test_the_chip_is_given_the_currents_of_each_tick_of_the_encoder(model: Driver) -> None:
    with seeded(0):
        moved = Driver(SWEEPS)
    moved.load_state_dict(model.state_dict())
    part = make_parts(SWEEPS, moved.eval())["encoder"]
    (stimulus,) = part.stimuli("test")
    seen = make_batch([make_window(SWEEPS, k) for k in range(2)]).seen
    with torch.no_grad():
        expected = torch.stack(
            [
                moved.encoder.stem(moved.normalise(images.flatten(0, 1))[None])[0][0]
                for images in (seen.sweeps[:, -1, :, 0], seen.images[:, -1])
            ]
        )
    bits = stimulus.inputs["stem_bits"]
    assert torch.equal(bits, split_bits(expected))
    assert not torch.equal(bits[0], bits[1])
    assert part.runs == 18
    found = verify_samples(*trace_part(part), NO_ANSWERS, lava_samples=0)
    assert found["torch_events"]["mismatches"] == 0
    assert "misfits" not in found


def trace_part(part: object) -> tuple[Graph, Iterator[Samples]]:
    """Return the graph of a part, and its stimuli."""
    from neuro.nn.trace import trace

    stimuli = list(part.stimuli("test"))  # type: ignore[attr-defined]
    shapes = {k: tuple(x.shape[2:]) for k, x in stimuli[0].inputs.items()}
    module = part.module  # type: ignore[attr-defined]
    graph = trace(module) if isinstance(module, Net) else trace(module, shapes["input"])

    def give() -> Iterator[Samples]:
        for stimulus in stimuli:
            inputs: dict[str, Tensor] = dict(stimulus.inputs)
            yield Samples(
                {k: to_events(x.flatten(2).numpy()) for k, x in inputs.items()},
                stimulus.targets,
            )

    return graph, give()
