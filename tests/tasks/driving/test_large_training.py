"""What a training at the size of nuScenes needs: less memory, fewer bits, prepared windows."""

from dataclasses import replace

import pytest
import torch
from driving_windows import make_window, small_config
from lightning_fabric import Fabric
from torch import Tensor, nn

from drivers.nuscenes.grid import GroundGrid
from neuro.base.seeds import seeded
from tasks.driving import model as module
from tasks.driving.batch import DrivingBatch, make_batch
from tasks.driving.config import DrivingConfig
from tasks.driving.lift_splat import find_cells
from tasks.driving.model import Driver
from tasks.driving.presets import without_spikes
from tasks.driving.task import compute_loss, plan

SMALL = small_config()
TWIN = without_spikes(SMALL)
STAGES = [(k + 0.5) / SMALL.epochs for k in range(len(SMALL.phases))]


@pytest.fixture(scope="module")
def batch() -> DrivingBatch:
    return make_batch([make_window(SMALL, seed) for seed in range(2)])


def make_driver(config: DrivingConfig) -> Driver:
    """Return a network whose future differs from the present."""
    with seeded(0):
        model = Driver(config)
        for norm in model.prediction.modules():
            if isinstance(norm, nn.BatchNorm2d):
                nn.init.ones_(norm.weight)
    return model


def learn(
    config: DrivingConfig, batch: DrivingBatch, at: float
) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """Return the loss of a stage, its gradients, and the buffers after the step."""
    fabric = Fabric(accelerator="cpu", devices=1, precision=plan(config).precision)
    model = fabric.setup_module(make_driver(config))
    with seeded(1):
        loss = compute_loss(config, model, batch, at)
        fabric.backward(loss)
    named = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return loss.detach(), named, dict(model.named_buffers())


@pytest.mark.slow
@pytest.mark.parametrize("at", STAGES)
def test_recomputed_blocks_change_no_number(batch: DrivingBatch, at: float) -> None:
    loss, gradients, buffers = learn(SMALL, batch, at)
    own_loss, own_gradients, own_buffers = learn(replace(SMALL, recomputes=True), batch, at)
    assert own_loss.equal(loss)
    assert len(buffers) > 20
    assert all(own_buffers[name].equal(x) for name, x in buffers.items())
    assert any(".prediction.refine" in name for name in gradients) == (at != STAGES[0])
    assert gradients.keys() == own_gradients.keys()
    for name, x in gradients.items():  # autograd adds those of shared inputs in another order
        torch.testing.assert_close(own_gradients[name], x, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("at", STAGES)
@pytest.mark.parametrize(("config", "error"), [(SMALL, 0.02), (TWIN, 0.001)])
def test_a_step_with_bf16_is_finite_and_near_that_of_float32(
    batch: DrivingBatch, config: DrivingConfig, error: float, at: float
) -> None:
    loss, gradients, _ = learn(config, batch, at)
    own_loss, own_gradients, _ = learn(replace(config, precision="bf16-mixed"), batch, at)
    assert own_loss.dtype == torch.float32
    assert float(own_loss) == pytest.approx(float(loss), rel=error)
    assert not own_loss.equal(loss)
    assert all(x.dtype == torch.float32 for x in own_gradients.values())
    assert all(x.isfinite().all() for x in own_gradients.values())
    # Not with spikes, which rounding of a membrane adds or removes, and not in the stage of
    # prediction: on three batches the cosines of its gradients were 0.70 to 0.94.
    if config is TWIN and at != STAGES[1]:
        a, b = (
            torch.cat([x.flatten() for x in g.values()]) for g in (gradients, own_gradients)
        )
        assert torch.cosine_similarity(a, b, 0) > 0.9


def test_bf16_moves_no_point(batch: DrivingBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Tensor] = []

    def find(points: Tensor, grid: GroundGrid) -> Tensor:
        found.append(points)
        return find_cells(points, grid)

    monkeypatch.setattr(module, "find_cells", find)
    for precision in ("32-true", "bf16-mixed"):
        learn(replace(SMALL, precision=precision), batch, STAGES[0])
    assert found[0].dtype == found[1].dtype == torch.float32
    assert found[0].equal(found[1])
