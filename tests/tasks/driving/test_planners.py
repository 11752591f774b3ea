"""Planners without cameras: where they say a car will be, worked out by hand."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from driving_windows import small_config
from jaxtyping import Float
from torch import Tensor, nn

from neuro.base.seeds import seeded
from tasks.driving.batch import Observation, make_blank
from tasks.driving.model import Driver
from tasks.driving.planners import (
    Blanked,
    EgoMlp,
    KeepAcceleration,
    KeepVelocity,
    ModelPlanner,
    Stop,
    train_ego_mlp,
)
from tasks.driving.presets import small
from tasks.driving.sampler import EgoState

CONFIG = small()


def see(
    speed: float, before: float = 0.0, yaw_rate: float = 0.0, command: int = 1
) -> Observation:
    """Return what a car sees that has come ``before`` metres in the last frame."""
    seen = make_blank(CONFIG)
    pose = seen.to_present.clone()
    pose[0, -2, 0, 3] = -before
    target = torch.tensor([[10.0, 3.0 * (1 - command)]])
    ego = EgoState(torch.tensor([speed]), torch.tensor([yaw_rate]), target)
    return seen._replace(to_present=pose, ego=ego)


def test_constant_velocity_goes_so_far_in_each_half_second() -> None:
    path = KeepVelocity(4)(see(8.0, yaw_rate=0.3))
    assert path[0].tolist() == [[4, 0, 0], [8, 0, 0], [12, 0, 0], [16, 0, 0]]


def test_a_network_refuses_input_that_it_did_not_learn_from_and_tells_all_of_it() -> None:
    """Its images may have another size, or be missing; so may frames and sweeps."""
    small = small_config()
    planner = ModelPlanner(Driver(small).eval())
    seen = make_blank(small)
    assert planner(seen).shape == (1, 4, 3)
    ticks = torch.zeros(1, 2, 6, 2, 3, 64, 160, dtype=torch.uint8)
    with pytest.raises(ValueError, match="driving: the network learned from other input") as e:
        planner(seen._replace(images=ticks[:, :, :, 0], sweeps=ticks))
    assert str(e.value).splitlines()[1:] == [
        "it needs images of 32 x 64 pixels, got 64 x 160: set Trial.size=config.image, of the "
        "network's configuration",
        "it needs 3 frames up to the present, got 2: set Trial.past=3, its config.past",
        "it needs 0 sweeps of each camera, got 2: set Trial.sweeps=0, its config.source.sweeps",
    ]
    none = seen._replace(images=seen.images[:, :, :0], sweeps=seen.sweeps[:, :, :0])
    with pytest.raises(ValueError, match=r"input:\nit needs images .* got none: set [^\n]*$"):
        planner(none)


def test_a_network_without_a_plan_is_no_planner() -> None:
    small = small_config()
    seeing = Driver(replace(small, phases=small.phases[:1]))
    with pytest.raises(ValueError, match="no path, because the last of its phases is perc"):
        ModelPlanner(seeing)
    with pytest.raises(TypeError, match="expected a Driver, got Linear"):
        ModelPlanner(nn.Linear(1, 1))


def test_who_stops_stays() -> None:
    assert Stop(4)(see(8.0)).tolist() == [[[0, 0, 0]] * 4]


class TestConstantAcceleration:
    def test_goes_on_gaining_what_the_last_frame_gained(self) -> None:
        # From 7 to 8 m/s in half a second are 3.75 m, and 2 m/s^2.
        path = KeepAcceleration(2)(see(8.0, before=3.75))
        assert path[0, :, 0].tolist() == pytest.approx([4 + 0.25, 8 + 1.0])

    def test_brakes_until_it_stands(self) -> None:
        # From 3 to 1 m/s: 1 m, -4 m/s^2; it stands after 1/4 s and 1/8 m.
        path = KeepAcceleration(3)(see(1.0, before=1.0))
        assert path[0, :, 0].tolist() == pytest.approx([0.125] * 3)

    def test_at_a_steady_speed_is_constant_velocity(self) -> None:
        seen = see(8.0, before=4.0)
        torch.testing.assert_close(KeepAcceleration(4)(seen), KeepVelocity(4)(seen))


def test_a_blanked_planner_sees_black_and_all_else() -> None:
    bright = see(8.0)._replace(images=torch.full_like(see(8.0).images, 200))

    def look(seen: Observation) -> Float[Tensor, "B F 3"]:
        return torch.stack([seen.images.sum() + 0.0, seen.ego.speed[0], seen.ego.speed[0]])[
            None, None
        ]

    assert Blanked(look)(bright)[0, 0].tolist() == [0, 8, 8]


class TestEgoMlp:
    @staticmethod
    def batches(n: int) -> Iterator[tuple[Observation, Float[Tensor, "B F 3"]]]:
        """Yield cars that turn by the command, 3 m aside at 10 m/s."""
        for k in range(n):
            seen = see(10.0, before=5.0, command=k % 3)
            path = KeepVelocity(4)(seen)
            path[..., 1] = 3.0 * (1 - k % 3)
            yield seen, path

    def test_learns_what_the_command_says(self) -> None:
        with seeded(0):
            model = EgoMlp(CONFIG.past, 4, "command")
        assert train_ego_mlp(model, self.batches(300)) < 0.01
        for command, aside in enumerate((3.0, 0.0, -3.0)):
            path = model(see(10.0, before=5.0, command=command)).detach()
            assert float((path[..., 1] - aside).abs().max()) < 0.3

    def test_sees_no_image(self) -> None:
        model = EgoMlp(CONFIG.past, 4, "command")
        seen = see(8.0)
        bright = seen._replace(images=torch.full_like(seen.images, 200))
        assert torch.equal(model(seen), model(bright))

    @pytest.mark.parametrize("change", ["speed", "before", "yaw_rate", "command"])
    def test_knows_speed_way_turn_and_command(self, change: str) -> None:
        usual = {"speed": 8.0, "before": 4.0, "yaw_rate": 0.1, "command": 0}
        other = usual | {change: {"command": 2}.get(change, usual[change] + 0.1)}
        with seeded(0):
            model = EgoMlp(CONFIG.past, 4, "command")
        added = [model(see(**kw)) - KeepVelocity(4)(see(**kw)) for kw in (usual, other)]  # type: ignore[arg-type]
        assert not torch.equal(*added)
