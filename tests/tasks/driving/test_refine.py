import itertools

import numpy as np
import pytest
import torch
from driving_windows import small_config

from neuro.base.seeds import seeded
from neuro.events import simulate
from neuro.graph import Host
from neuro.spikes import to_events, to_raster
from tasks.driving.config import Cells
from tasks.driving.presets import small, without_spikes
from tasks.driving.refine import KNOWN, Refinement, make_inputs, make_spiking_gru, steer_path
from tasks.driving.sampler import NAVIGATION, EgoState

SMALL = small_config()
INPUTS = KNOWN + NAVIGATION["command"]


def step(weights: dict[str, torch.Tensor], x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
    """Return h' by the equations of a GRU of spikes."""

    def gate(name: str, state: torch.Tensor) -> torch.Tensor:
        own = x @ weights[f"{name}_x"].T + state @ weights[f"{name}_h"].T
        return (own + weights[f"{name}_bias"] >= 1).float()

    r, z = gate("r", h), gate("z", h)
    n = gate("n", r * h)
    return (1 - z) * n + z * h


def test_the_cell_is_a_gru_of_spikes() -> None:
    net = make_spiking_gru(Cells(), INPUTS, 16)
    weights = {
        name: net.parts[f"node_{name}"].weight.detach()[:, :, 0, 0]
        for name in ("r_x", "z_x", "n_x", "r_h", "z_h", "n_h")
    }
    weights |= {f"{g}_bias": net.parts[f"node_{g}_x"].bias.detach() for g in "rzn"}
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(6, 5, INPUTS, generator=rng)
    h = (torch.rand(5, 16, generator=rng) < 0.5).float()
    start = torch.cat([h[None], torch.zeros(5, 5, 16)])
    with torch.no_grad():
        out, _ = net({"x": x[..., None, None], "start": start[..., None, None]})
    for t in range(6):
        h = step(weights, x[t], h)
        assert torch.equal((out["keep"] + out["new"])[t, ..., 0, 0], h)
    assert 0.1 < h.mean() < 0.9


def test_weights_are_drawn_from_the_seed() -> None:
    def draw(seed: int) -> torch.Tensor:
        with seeded(seed):
            return make_spiking_gru(Cells(), INPUTS, 16).parts["node_n_h"].weight.detach()

    assert torch.equal(draw(0), draw(0))
    assert not torch.equal(draw(0), draw(1))
    assert 0.2 < draw(0).std() < 0.3  # a quarter: from 16 neurons


def test_gates_are_their_truth_tables() -> None:
    net = make_spiking_gru(Cells(), INPUTS, 1)
    for g in "rzn":
        net.parts[f"node_{g}_h"].weight.data.zero_()
        net.parts[f"node_{g}_x"].weight.data.zero_()
    for h, z, n in itertools.product((0.0, 1.0), repeat=3):
        # A bias of 1 makes the argument of H zero, and H(0) is 1.
        net.parts["node_z_x"].bias.data.fill_(z)
        net.parts["node_n_x"].bias.data.fill_(n)
        with torch.no_grad():
            out, _ = net(
                {"x": torch.zeros(1, 1, INPUTS, 1, 1), "start": torch.full((1, 1, 1, 1, 1), h)}
            )
        assert float(out["keep"] + out["new"]) == (h if z else n)


def test_no_host_is_needed_and_the_wire_that_inverts_is_not_trained() -> None:
    net = make_spiking_gru(Cells(), INPUTS, 4)
    assert not any(isinstance(node, Host) for node in net.graph().nodes.values())
    frozen = [name for name, p in net.named_parameters() if not p.requires_grad]
    assert frozen == ["parts.node_not_z.weight"]


def test_the_event_engine_spikes_as_the_cell_does() -> None:
    net = make_spiking_gru(Cells(), INPUTS, 8)
    rng = torch.Generator().manual_seed(0)
    for part in net.parts.values():
        if getattr(part, "weight", None) is not None:
            part.weight.data = (part.weight.data * 256).round() / 256
    x = (torch.randn(4, 3, INPUTS, 1, 1, generator=rng) * 16).round() / 16
    start = torch.zeros(4, 3, 8, 1, 1)
    start[0] = (torch.rand(3, 8, 1, 1, generator=rng) < 0.5).float()
    inputs = {"x": x, "start": start}
    with torch.no_grad():
        out, _ = net(inputs)
    events = {k: to_events(v.flatten(2).numpy()) for k, v in inputs.items()}
    record, _ = simulate(net.graph(), events)
    for name in ("r", "z", "n", "keep", "new"):
        spikes = out[name].flatten(2).numpy()
        np.testing.assert_array_equal(to_raster(record.spikes[name]), spikes, name)


def ego(windows: int = 2) -> EgoState:
    speed, yaw_rate = torch.linspace(4, 8, windows), torch.full((windows,), 0.1)
    aside = 3.0 * (1 - torch.arange(windows) % 3)
    return EgoState(speed, yaw_rate, torch.stack([2 * speed, aside], 1))


@pytest.mark.parametrize("config", [SMALL, without_spikes(SMALL)])
def test_at_first_a_path_is_left_where_it_is(config: object) -> None:
    with seeded(0):
        refinement = Refinement(config).eval()  # type: ignore[arg-type]
    path = torch.zeros(2, 4, 3)
    path[..., 0] = 3.0 * torch.arange(1, 5)
    front = torch.randn(2, 6, 4, 8)
    with torch.no_grad():
        torch.testing.assert_close(refinement(path, front, ego()), path)
        refinement.end.bias[:] = torch.tensor([1.0, 0.0])
        faster = refinement(path, front, ego())
        refinement.end.bias[:] = torch.tensor([0.0, 2.0])
        turned = refinement(path, front, ego())
    # 1 m/s^2: 0.5 m/s more in each frame than in the one before.
    torch.testing.assert_close(
        faster[..., 0] - path[..., 0], torch.tensor(2 * [[0.25, 0.75, 1.5, 2.5]])
    )
    assert not faster[..., 1:].any()
    # 0.1 / m to the left over 3 m a frame.
    torch.testing.assert_close(turned[..., 2], torch.tensor(2 * [[0.3, 0.6, 0.9, 1.2]]))
    assert (turned[..., 1] > 0).all()


def test_what_the_camera_sees_and_the_ego_knows_reaches_the_path() -> None:
    with seeded(0):
        refinement = Refinement(small())  # in training: norms that saw nothing leave silence
        torch.nn.init.normal_(refinement.end.weight)
        front = 3 * torch.randn(1, 24, 8, 20)
        other = 3 * torch.randn(1, 24, 8, 20)
    path = torch.zeros(1, 6, 3)
    path[..., 0] = 3.0 * torch.arange(1, 7)
    with torch.no_grad():
        one = refinement(path, front, ego(1))
        assert not torch.equal(refinement(path, other, ego(1)), one)
        fast = ego(1)._replace(speed=torch.tensor([30.0]))
        assert not torch.equal(refinement(path, front, fast), one)


def test_the_gru_is_told_place_and_step_of_each_frame_and_the_command() -> None:
    path = torch.tensor([[[2.0, 0.0, 0.0], [6.0, 1.0, 0.0]]])
    own = EgoState(torch.tensor([5.0]), torch.tensor([0.25]), torch.tensor([[8.0, -2.0]]))
    told = make_inputs(path, own, "command")
    assert told.shape == (2, 1, INPUTS)
    expected = [6 / 20, 1 / 5, 4 / 5, 1.0, 5 / 10, 0.25 / 0.5, 0, 0, 1]
    torch.testing.assert_close(told[1, 0], torch.tensor(expected))
    more = make_inputs(path, own, "target")[1, 0]
    torch.testing.assert_close(more, torch.tensor([*expected, 8 / 20, -2 / 20]))


def circle(curvature: float, length: float, frames: int = 6) -> torch.Tensor:
    """Return a path of equal arcs, at their ends."""
    yaw = curvature * length * torch.arange(1.0, frames + 1)
    xy = [yaw.sin() / curvature, (1 - yaw.cos()) / curvature]
    return torch.stack([*xy, yaw], -1)[None]


def test_a_straight_path_that_is_bent_is_a_circle_of_that_curvature() -> None:
    straight = torch.zeros(1, 6, 3)
    straight[..., 0] = 4.0 * torch.arange(1, 7)
    nothing, bend = torch.zeros(1, 6), torch.full((1, 6), 0.01)
    made = steer_path(straight, nothing, bend)
    torch.testing.assert_close(made, circle(0.01, 4.0), atol=2e-3, rtol=0)
    back = steer_path(made, nothing, -bend)
    torch.testing.assert_close(back, straight, atol=1e-4, rtol=0)


def test_nothing_added_leaves_any_path_even_one_that_stands() -> None:
    path = torch.cat([circle(0.1, 0.01), circle(-0.05, 3.0), torch.zeros(1, 6, 3)])
    made = steer_path(path, torch.zeros(3, 6), torch.zeros(3, 6))
    torch.testing.assert_close(made, path, atol=1e-5, rtol=0)


def test_a_car_that_stands_is_not_turned_and_none_drives_backwards() -> None:
    standing = torch.zeros(1, 6, 3)
    standing[..., 2] = 0.3
    none, some = torch.zeros(1, 6), torch.full((1, 6), 0.2)
    assert torch.equal(steer_path(standing, none, some), standing)
    assert torch.equal(steer_path(standing, -some, some), standing)
    started = steer_path(standing, some, none)  # along its heading
    way = 0.1 * torch.arange(1.0, 7.0)
    torch.testing.assert_close(started[0, :, 0], way * np.cos(0.3))
    torch.testing.assert_close(started[0, :, 1], way * np.sin(0.3))


def test_standing_paths_have_finite_gradients() -> None:
    path = torch.zeros(1, 6, 3, requires_grad=True)
    speed, bend = (torch.zeros(1, 6, requires_grad=True) for _ in range(2))
    steer_path(path, speed, bend).sum().backward()
    for given in (path, speed, bend):
        assert given.grad is not None
        assert given.grad.isfinite().all()
