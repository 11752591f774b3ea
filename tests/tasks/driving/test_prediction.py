from dataclasses import replace

import numpy as np
import pytest
import torch
from driving_windows import small_config
from torch import nn

from drivers.nuscenes.grid import GroundGrid
from neuro.base.seeds import seeded
from neuro.events import simulate
from neuro.graph import Host
from neuro.neurons import LIF
from neuro.spikes import to_events, to_raster
from tasks.driving.config import DrivingConfig, Fusion
from tasks.driving.prediction import Prediction, Uncertainty, make_pathways, move_cells
from tasks.driving.presets import without_spikes

SMALL = small_config()


def with_fusion(fusion: Fusion) -> DrivingConfig:
    return replace(SMALL, prediction=replace(SMALL.prediction, fusion=fusion))


def with_moves(moves: bool) -> DrivingConfig:
    return replace(SMALL, prediction=replace(SMALL.prediction, moves=moves))


def make_states(seed: int = 0, windows: int = 2) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(3, windows, SMALL.state_channels, 16, 16, generator=rng)


def make_prediction(config: DrivingConfig) -> Prediction:
    with seeded(0):
        return Prediction(config)


@pytest.fixture(scope="module")
def prediction() -> Prediction:
    return make_prediction(SMALL).eval()


def test_futures_are_added_behind_past_and_present(prediction: Prediction) -> None:
    with torch.no_grad():
        states = make_states()
        for futures in (1, 4):
            assert prediction(states, futures).states.shape == (3 + futures, 2, 12, 16, 16)


def test_an_earlier_frame_does_not_see_a_later_one(prediction: Prediction) -> None:
    states = make_states()
    with torch.no_grad():
        whole, part = prediction(states, 4).states, prediction(states, 2).states
    torch.testing.assert_close(whole[:5], part)


def test_nothing_is_kept_from_one_call_to_the_next(prediction: Prediction) -> None:
    with torch.no_grad():
        first = prediction(make_states(), 3).states
        prediction(make_states(1), 3)
        assert torch.equal(prediction(make_states(), 3).states, first)


def write_out(prediction: Prediction, states: torch.Tensor, futures: int) -> torch.Tensor:
    """Return the fused map of "add", tick by tick, by the equations of the module."""
    parts = prediction.pathways.parts

    def lif(v: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        v = 0.5 * v + x
        s = (v >= 1).float()
        return torch.where(s > 0, 0, v), s

    inputs = prediction.make_inputs(states, futures)
    size = 16 // prediction.config.prediction.stride
    zero = torch.zeros(states.shape[1], 6, size, size)
    a = b = h = va = vb = vh = zero
    out = []
    for seen, z in zip(inputs["frames"], inputs["latent"], strict=True):
        c = a + b
        spread = parts["node_a_latent"](z).expand(-1, -1, size, size)
        x = parts["node_a_frames"](seen) + parts["node_a_fused"](c) + spread
        own = parts["node_h_frames"](seen) + parts["node_h_fused"](c) + parts["node_h_self"](h)
        va, a = lif(va, x)
        vh, h = lif(vh, own)
        vb, b = lif(vb, parts["node_b_h"](h))
        out.append(a + b)
    return torch.stack(out)


@pytest.mark.parametrize("stride", [1, 2])
def test_the_pathways_are_their_equations_written_out(stride: int) -> None:
    prediction = make_prediction(
        replace(SMALL, prediction=replace(SMALL.prediction, stride=stride))
    ).eval()
    states = make_states()
    with torch.no_grad():
        made = prediction.run_pathways(states, 4)
        assert torch.equal(made, write_out(prediction, states, 4))
    rate = made.mean(dim=(1, 2, 3, 4)) / 2
    assert (rate > 0.02).all()  # it runs on by itself where frames end
    assert (rate < 0.5).all()


@pytest.mark.parametrize("fusion", ["multiply", "gate"])
def test_other_fusions_are_what_their_names_say(fusion: Fusion) -> None:
    prediction = make_prediction(with_fusion(fusion)).eval()
    states = make_states()
    with torch.no_grad():
        out, _ = prediction.pathways(prediction.make_inputs(states, 2))
        fused = prediction.run_pathways(states, 2)
        a, b = out["a"], out["b"]
        if fusion == "multiply":
            assert torch.equal(fused, a * b)
        else:
            both = torch.cat([a, b], 2).flatten(0, 1)
            parts = prediction.pathways.parts
            gates = [parts[f"node_{w}_weigh"](both).sigmoid().view_as(a) for w in "ab"]
            torch.testing.assert_close(fused, gates[0] * a + gates[1] * b)


def test_added_pathways_are_all_spikes_and_others_need_a_host() -> None:
    def hosts(fusion: Fusion) -> int:
        nodes = make_pathways(with_fusion(fusion)).graph().nodes.values()
        return sum(isinstance(node, Host) for node in nodes)

    assert [hosts(f) for f in ("add", "multiply", "gate")] == [0, 1, 4]


def test_the_event_engine_spikes_as_the_pathways_do() -> None:
    config = replace(
        SMALL,
        prediction=replace(SMALL.prediction, hidden=3, latent=0, stride=2),
        grid=GroundGrid(x=(0.0, 24.0), y=(-8.0, 8.0), step=2.0),
    )
    with seeded(0):
        net = make_pathways(config)
        for part in net.parts.values():  # dyadic weights: sums are exact
            if hasattr(part, "weight") and part.weight is not None:
                part.weight.data = (part.weight.data * 64).round() / 64
    frames = torch.zeros(6, 2, SMALL.state_channels, 12, 8)
    frames[:3] = torch.rand(frames[:3].shape, generator=torch.Generator().manual_seed(0)) < 0.3
    with torch.no_grad():
        out, _ = net({"frames": frames})
    record, _ = simulate(net.graph(), {"frames": to_events(frames.flatten(2).numpy())})
    for name in "ahb":
        spikes = out[name].flatten(2).numpy()
        assert spikes.any()
        np.testing.assert_array_equal(to_raster(record.spikes[name]), spikes, name)


def test_the_present_goes_on_where_pathways_are_silent() -> None:
    prediction = make_prediction(
        replace(SMALL, prediction=replace(SMALL.prediction, refine=()))
    )
    prediction.eval()
    nn.init.ones_(prediction.project[1].weight)
    for part in prediction.pathways.parts.values():
        for p in part.parameters():
            p.data.zero_()
    states = make_states()
    with torch.no_grad():
        out = prediction(states, 2).states
    norm = prediction.project[1]
    shift = norm.bias - norm.running_mean * norm.weight / (norm.running_var + norm.eps).sqrt()
    for future in out[3:]:
        torch.testing.assert_close(future, states[2] + shift[:, None, None])
    assert torch.equal(out[:3], states)


def test_larger_cells_of_pathways_are_filled_by_smaller_ones() -> None:
    config = replace(SMALL, prediction=replace(SMALL.prediction, refine=(), stride=2))
    prediction, states = make_prediction(config).eval(), make_states()
    nn.init.ones_(prediction.project[1].weight)
    with torch.no_grad():
        fused = prediction.run_pathways(states, 2)
        change = prediction(states, 2).states[3:] - states[2]
        assert fused.shape == (5, 2, 6, 8, 8)
        made = prediction.project[:2](fused[3]).view(2, 12, 2, 2, 8, 8)
    for dx, dy in ((0, 0), (0, 1), (1, 0), (1, 1)):
        torch.testing.assert_close(change[0, :, :, dx::2, dy::2], made[:, :, dx, dy])


@pytest.mark.parametrize("moves", [False, True])
def test_at_first_all_stays_where_it_is(moves: bool) -> None:
    prediction, states = make_prediction(with_moves(moves)), make_states()
    with torch.no_grad():
        for out, motion in (prediction(states, 2), prediction.eval()(states, 2)):
            assert torch.equal(out, torch.cat([states, states[-1:], states[-1:]]))
            assert (motion is not None) == moves


def test_cells_move_on_steadily_and_share_what_lies_between() -> None:
    features = torch.zeros(1, 2, 5, 4)
    features[0, :, 1, 2] = torch.tensor([1.0, -2.0])
    features[0, 0, 4, 3] = 5.0  # leaves the map
    motion = torch.zeros(1, 2, 5, 4)
    motion[0, :, 1, 2] = torch.tensor([1.0, -0.25])
    motion[0, :, 4, 3] = torch.tensor([1.0, 0.0])
    first, second = move_cells(features, motion, 2)
    assert first[0].nonzero().tolist() == [[0, 2, 1], [0, 2, 2], [1, 2, 1], [1, 2, 2]]
    assert first[0, :, 2, 1].tolist() == [0.25, -0.5]
    assert first[0, :, 2, 2].tolist() == [0.75, -1.5]
    assert second[0, :, 3, 1].tolist() == [0.5, -1.0]
    assert second[0, :, 3, 2].tolist() == [0.5, -1.0]
    crowd = torch.zeros(2, 1, 3, 3)
    crowd[1] = 1.0
    places = torch.meshgrid(torch.arange(3.0), torch.arange(3.0), indexing="ij")
    made = move_cells(crowd, (1 - torch.stack(places)).expand(2, -1, -1, -1), 1)[0]
    assert made[1, 0, 1, 1] == 9  # all meet in the middle, of their own window
    assert made.sum() == 9


def test_cells_that_move_have_the_derivatives_of_differences() -> None:
    rng = torch.Generator().manual_seed(0)
    features = torch.randn(1, 2, 4, 3, generator=rng, dtype=torch.float64).requires_grad_()
    motion = torch.randn(1, 2, 4, 3, generator=rng, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda f, m: move_cells(f, m, 2), (features, motion))


def test_futures_start_from_what_moved_but_for_the_motion_of_the_ego() -> None:
    config = with_moves(True)
    prediction = make_prediction(
        replace(config, prediction=replace(config.prediction, refine=()))
    ).eval()
    flow = prediction.motion[0]
    nn.init.normal_(flow.weight)
    states = make_states()
    with torch.no_grad():
        out, motion = prediction(states, 2)
        fused = prediction.run_pathways(states, 2)[2]
    torch.testing.assert_close(motion, flow(fused))
    assert motion.abs().max() > 1
    assert torch.equal(out[3:, :, :-6], move_cells(states[2, :, :-6], motion, 2))
    assert torch.equal(out[3:, :, -6:], states[2, :, -6:].expand(2, -1, -1, -1, -1))


def test_training_and_evaluation_agree_in_the_loop() -> None:
    prediction = make_prediction(SMALL)
    assert not any("norm" in name for name, _ in prediction.pathways.named_parameters())
    states = make_states()
    with torch.no_grad():
        inputs = prediction.train().make_inputs(states, 3)
        trained, _ = prediction.pathways(inputs)
        evaluated, _ = prediction.eval().pathways(inputs)
    assert all(torch.equal(trained[k], evaluated[k]) for k in trained)


def test_uncertainty_draws_in_training_and_tells_its_mean_in_evaluation() -> None:
    with seeded(0):
        part = Uncertainty(SMALL)
        present = make_states()[-1]
        one, other = part(present), part(present)
        assert not torch.equal(one, other)
    part.eval()
    with torch.no_grad():
        assert torch.equal(part(present), part(present))
        part.train()
        with seeded(1):
            draws = part(present[:1].expand(400, -1, -1, -1))
        spread = torch.full((2,), -2.0).exp()  # as it is at first, but for its small weights
        torch.testing.assert_close(draws.std(0), spread, rtol=0.3, atol=0.0)


def test_the_twin_has_no_neuron() -> None:
    twin = make_prediction(without_spikes(SMALL)).eval()
    nodes = twin.pathways.graph().nodes.values()
    assert not any(isinstance(node, LIF) for node in nodes)
    with torch.no_grad():
        assert twin(make_states(), 2).states.shape == (5, 2, 12, 16, 16)
