from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from driving_windows import make_window, small_config
from torch import nn
from torch.utils._pytree import tree_leaves

from drivers.nuscenes.grid import GroundGrid
from neuro.base.seeds import seeded
from neuro.io.run_folder import Run, RunError
from neuro.nn.trace import trace
from tasks.driving import TASK, data, deployment, evaluate
from tasks.driving.batch import (
    Observation,
    blank_images,
    join_ticks,
    keep_frames,
    make_batch,
    make_dummy_batch,
)
from tasks.driving.config import DrivingConfig, Source
from tasks.driving.cost import Costs
from tasks.driving.losses import compute_losses, make_instance_targets, weigh_losses
from tasks.driving.model import Driver, DrivingOutputs, Planned
from tasks.driving.planners import KeepVelocity
from tasks.driving.presets import maps, paper, small, without_spikes
from tasks.driving.task import compute_loss, list_tasks
from tasks.runs.task import Split

SMALL = small_config()
ONE_GRID = replace(SMALL, road_cells=1)
SWEEPS = replace(SMALL, source=Source(sweeps=1))


@pytest.fixture(autouse=True)
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put windows of noise in the place of data sets."""

    def open_split(config: DrivingConfig, split: Split) -> list:
        many = {"train": 5, "val": 3, "test": 3}[split]
        return [make_window(config, 10 * len(split) + k) for k in range(many)]

    monkeypatch.setattr(data, "open_split", open_split)


@pytest.fixture(scope="module")
def model() -> Driver:
    with seeded(0):
        return Driver(SMALL)


def test_an_epoch_has_whole_batches_in_an_order_of_its_own() -> None:
    assert TASK.training.steps(SMALL) == 2
    first, again, other = (list(TASK.training.batches(SMALL, "train", e)) for e in (0, 0, 1))
    assert len(first) == len(other) == 2
    assert all(map(torch.equal, tree_leaves(first), tree_leaves(again)))
    assert not all(map(torch.equal, tree_leaves(first), tree_leaves(other)))
    assert TASK.training.batches_from is not None
    rest = list(TASK.training.batches_from(SMALL, 0, 1))
    assert all(map(torch.equal, tree_leaves(rest), tree_leaves(first[1:])))
    assert len(rest) == 1


def test_other_splits_are_read_in_order_and_whole() -> None:
    found = list(TASK.training.batches(SMALL, "val", 5))
    assert [len(b.truth.path) for b in found] == [2, 1]
    few = replace(SMALL, source=Source(test=1, train=3))
    assert [len(b.truth.path) for b in TASK.training.batches(few, "test", 0)] == [1]
    assert TASK.training.steps(few) == 1


def test_a_batch_holds_the_present_and_the_future_of_its_windows() -> None:
    windows = [make_window(SWEEPS, k) for k in (0, 1)]
    seen, truth = make_batch(windows)
    assert seen.sweeps.shape == (2, 3, 6, 1, 3, 32, 64)
    black = blank_images(seen)
    assert not black.images.any()
    assert not black.sweeps.any()
    assert black._replace(images=seen.images, sweeps=seen.sweeps) == seen
    # The ticks of an encoder, in order of time.
    assert torch.equal(join_ticks(seen), torch.stack([seen.sweeps[:, :, :, 0], seen.images]))
    for b, w in enumerate(windows):
        assert np.array_equal(seen.images[b].numpy(), w.images)
        assert np.array_equal(seen.sweeps[b].numpy(), w.sweeps)
        assert np.array_equal(truth.vehicle[b].numpy(), w.vehicle[2:])
        assert np.array_equal(truth.instance[b].numpy(), w.instance[2:])
        assert np.array_equal(truth.path[b].numpy(), w.path)
        assert seen.ego.speed[b] == w.speed[-1]
    assert seen.ego.command.tolist() == [1, 1]
    leaves = tree_leaves((seen, truth))
    assert all(len(x) == 2 for x in leaves)


@pytest.mark.parametrize(("sees", "sweeps"), [("cameras", 0), ("cameras", 1), ("maps", 0)])
def test_a_dummy_batch_has_the_shapes_of_a_batch(
    sees: Literal["cameras", "maps"], sweeps: int
) -> None:
    phases = SMALL.phases if sees == "cameras" else (replace(SMALL.phases[1], frozen=()),)
    config = replace(
        SMALL if sees == "cameras" else ONE_GRID,
        sees=sees,
        depth_loss=sees == "cameras",
        phases=phases,
        source=Source(sweeps=sweeps),
    )
    windows = [make_window(config, k) for k in range(config.batch)]
    if sees == "maps":
        looks = ("images", "sweeps", "intrinsic", "to_ego", "depth")
        windows = [replace(w, **{n: getattr(w, n)[:, :0] for n in looks}) for w in windows]
    real, made = make_batch(windows, maps=sees == "maps"), make_dummy_batch(config)
    assert [(x.shape, x.dtype) for x in tree_leaves(made)] == [
        (x.shape, x.dtype) for x in tree_leaves(real)
    ]


def test_prediction_can_be_given_the_true_maps() -> None:
    phases = (replace(SMALL.phases[1], frozen=()),)
    config = replace(SMALL, sees="maps", road_cells=1, depth_loss=False, phases=phases)
    windows = [make_window(config, k) for k in (0, 1)]
    batch = make_batch(windows, maps=True)
    for b, w in enumerate(windows):
        for k, mask in enumerate((w.vehicle[:3], w.pedestrian[:3], w.drivable, w.lane)):
            assert np.array_equal(
                batch.seen.maps[b, :, k].numpy(), np.broadcast_to(mask, (3, 16, 16))
            )
    assert make_batch(windows).seen.maps.shape == (2, 3, 0, 16, 16)
    assert next(data.read_batches(config, "val", 0)).seen.maps.shape[2] == 4
    with seeded(0):
        model = Driver(config)
        assert compute_loss(config, model, batch, 0.0).isfinite()
    with torch.no_grad():
        model.eval()
        outputs = model(batch.seen)
        states = model.perceive(batch.seen).states
        other = model.perceive(batch.seen._replace(images=255 - batch.seen.images)).states
        moved = model.perceive(batch.seen._replace(maps=batch.seen.maps.flip(1))).states
    assert outputs.plan is None
    assert outputs.maps["vehicle"].shape == (2, 5, 16, 16)
    assert torch.equal(states, other)
    torch.testing.assert_close(states[:, :, :-6].flip(0), moved[:, :, :-6])
    assert not torch.equal(states, moved)
    values, n, _ = evaluate.measure_model(config, model, [batch])
    parts = [values[k] for k in ("iou_vehicle", "iou_lane", "iou_drivable", "future_iou")]
    assert n == 2
    assert values["score"] == pytest.approx(np.mean(parts))


def test_without_a_future_the_present_alone_is_measured() -> None:
    config = replace(SMALL, phases=SMALL.phases[:1])
    with seeded(0):
        model = Driver(config).eval()
    batch = make_batch([make_window(config, k) for k in (0, 1)])
    values, *_ = evaluate.measure_model(config, model, [batch])
    assert not [k for k in values if k.startswith(("future", "pq"))]
    assert all(np.isfinite(v) for k, v in values.items() if k.startswith(("iou", "near_iou")))
    parts = [values[k] for k in ("iou_vehicle", "iou_lane", "iou_drivable")]
    assert values["score"] == pytest.approx(np.mean(parts))


def test_a_phase_may_see_the_last_frames_alone() -> None:
    config = replace(ONE_GRID, source=SWEEPS.source)
    batch = make_batch([make_window(config, k) for k in (0, 1)], maps=True)
    kept = keep_frames(batch, 2)
    for name in ("images", "sweeps", "intrinsic", "to_ego", "to_present", "maps"):
        assert torch.equal(getattr(kept.seen, name), getattr(batch.seen, name)[:, 1:])
    assert torch.equal(kept.truth.depth.nan_to_num(), batch.truth.depth[:, 1:].nan_to_num())
    assert all(map(torch.equal, kept.truth[:5], batch.truth[:5]))
    config = replace(config, phases=(replace(SMALL.phases[0], past=1),))
    with seeded(0):
        model = Driver(config)
        loss = compute_loss(config, model, batch, 0.5)
        outputs = model(keep_frames(batch, 1).seen, "perception", 0)
    assert outputs.depth.shape[:2] == (2, 1)
    losses = compute_losses(
        config, outputs, keep_frames(batch, 1).truth, list_tasks(config, config.last)
    )
    assert loss == weigh_losses(losses, outputs.balance)


@pytest.mark.slow
def test_the_part_for_the_chip_can_be_traced_and_takes_the_stimuli(model: Driver) -> None:
    with torch.no_grad(), seeded(0):
        for _ in range(3):  # norms that saw nothing leave silence
            model(make_batch([make_window(SMALL, k) for k in range(2)]).seen)
    model.eval()
    stimuli = list(TASK.deployment.stimuli(SMALL, model, "test"))
    assert [len(s.targets) for s in stimuli] == [2, 1]
    (x,), targets = stimuli[0].inputs.values(), stimuli[0].targets
    assert x.shape == (7, 2, 12, 16, 16)
    assert set(x.unique().tolist()) == {0, 1}
    part = TASK.deployment.part(SMALL, model)
    graph = trace(part, tuple(x.shape[2:]))
    with torch.no_grad():
        outputs = {graph.outputs[0]: part(x)[0]}
        whole = model(next(data.read_batches(SMALL, "test", 0)).seen)
    submission = TASK.evaluation.decode(SMALL, model, outputs)
    for k, name in enumerate(deployment.CLASSES):
        mask = whole.maps[name][:, 0] > 0
        times = 1 if name == "drivable" else 2  # parts of a cell along an edge
        assert torch.equal(submission[:, k, ::times, ::times], mask)
        assert torch.equal(submission[:, k, 1::2, 1::2] if times == 2 else mask, mask)
    values = TASK.evaluation.measure(SMALL, submission, targets)
    assert set(values) == {"iou_vehicle", "iou_lane", "iou_drivable"}
    assert set(values) <= {m.name for m in TASK.evaluation.metrics}
    assert set(TASK.evaluation.measure(SMALL, targets, targets).values()) == {1.0}


def test_no_more_windows_are_compared_than_are_asked_for(
    model: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployment, "COMPARED", 1)
    (some,) = deployment.stimuli(SMALL, model.eval(), "test")
    assert len(some.targets) == 1
    assert some.drawn == "spread at random over 3"
    # The first window would stand for its drive alone: the draw of one in three is the last.
    chosen = make_batch([make_window(SMALL, 40 + 2)]).truth
    assert torch.equal(some.targets[0, 1, ::2, ::2], chosen.lane[0])


@pytest.mark.slow
def test_the_host_computes_what_takes_and_gives_real_values(model: Driver) -> None:
    host = TASK.deployment.host(SMALL, model)
    assert set(host) == {*deployment.HOST, "lift"}
    assert host["stem"] == 3 * 6 * (8 * 16) * (4 * 3 * 49)
    with_sweeps = TASK.deployment.host(SWEEPS, model)
    assert with_sweeps == host | {"stem": 2 * host["stem"]}  # a stem for each tick
    assert host["path"] == 4 * 8 * 2
    assert host["uncertainty"] == 6 * 4
    # Two blocks of 12 -> 6 -> 12 channels, 3 x 3, on seven frames; of four futures 6 -> 12.
    assert host["refinement of states"] == (16 * 16) * (7 * 2 * 2 * 12 * 6 * 9 + 4 * 6 * 12)
    assert host["motion of cells"] == (16 * 16) * (2 * 6 * 9)
    assert host["lift"] == 3 * 6 * 6 * 6 * 4 * 8  # frames, cameras, bins, channels, h, w
    shared = 5 * (16 * 16) * (12 * 4 * 9)  # heads: five frames, 3 x 3
    alone = 1 * (16 * 16) * (12 * 4 * 9)
    ends = (16 * 16) * 4 * (5 * (1 + 1 + 1 + 2 + 2 + 1) + 1 + 4)  # road: four parts of a cell
    assert host["heads"] == 6 * shared + 2 * alone + ends


def test_twins_have_no_part_for_a_chip() -> None:
    twin = without_spikes(SMALL)
    with pytest.raises(RunError, match="use a run of driving:small"):
        TASK.deployment.part(twin, nn.Identity())
    reset = replace(SMALL, decoder=replace(SMALL.decoder, carries=False))
    with pytest.raises(RunError, match="starts each frame from rest"):
        TASK.deployment.part(reset, nn.Identity())
    with pytest.raises(RunError, match="sees true maps"):
        TASK.deployment.part(maps(), nn.Identity())
    why = TASK.deployment.only_torch
    assert why(twin) == "the twin without spikes has no Graph; use a run of driving:small"
    assert "starts each frame from rest" in why(reset)
    assert why(SMALL) == ""


def test_an_evaluation_has_all_metrics_and_baselines(
    model: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "draw_pictures", lambda *_: [])
    monkeypatch.setattr(evaluate, "open_submission", lambda _: None)
    run = Run(folder=tmp_path, task="driving", name="small", seed=0, config=SMALL)
    findings = TASK.evaluation.evaluate(run, model.eval())
    names = {m.name for m in TASK.evaluation.metrics}
    three = {f"{k}_{how}_3s" for k in ("l2", "collision") for how in ("mean", "at")}
    assert set(findings.values) == names - three  # windows of tests have four frames, 2 s
    assert findings.n == 3
    baselines = findings.facts["baselines"]
    assert baselines["future_iou_static_truth"] == pytest.approx(1 / 3, abs=0.15)
    assert baselines["l2_mean_2s_constant_velocity"] < 1e-5  # windows drive straight on
    assert [t.title for t in findings.tables] == ["Vehicles in the next 2 s"]
    means = [f"{kind}_mean_{s}s" for kind in ("l2", "collision") for s in (1, 2)]
    assert findings.beside == {
        "constant velocity": {name: baselines[f"{name}_constant_velocity"] for name in means}
    }


def test_who_plans_nothing_has_no_figures_of_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "draw_pictures", lambda *_: [])
    monkeypatch.setattr(evaluate, "open_submission", lambda _: None)
    config = replace(SMALL, phases=SMALL.phases[:2])
    run = Run(folder=tmp_path, task="driving", name="seen", seed=0, config=config)
    with seeded(0):
        findings = TASK.evaluation.evaluate(run, Driver(config).eval())
    assert not [name for name in findings.values if name.startswith(("l2", "collision"))]
    assert findings.beside == {}
    assert [t.title for t in findings.tables] == ["Vehicles in the next 2 s"]


class Oracle(nn.Module):
    """Says what is true of the windows of a split, in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.some = nn.Parameter(torch.zeros(1))
        self.batches = data.read_batches(SMALL, "val", 0)

    def forward(self, seen: Observation) -> DrivingOutputs:  # noqa: ARG002
        truth = next(self.batches).truth
        aims = make_instance_targets(truth.instance)
        maps = {
            "vehicle": truth.vehicle.float() - 0.5,
            "pedestrian": truth.pedestrian.float() - 0.5,
            "lane": truth.lane[:, None].float() - 0.5,
            "drivable": truth.drivable[:, None].float() - 0.5,
            "centre": aims.centre.clamp(1e-6, 1 - 1e-6).logit(),
            "offset": aims.offset.nan_to_num(),
            "flow": aims.flow.nan_to_num(),
        }
        path, none = truth.path, torch.zeros(len(truth.path), 1)
        costs = Costs(none[..., None], none)
        plan = Planned(path[:, None], costs, path, path, None)
        return DrivingOutputs(none.view(-1, 1, 1, 1, 1, 1), maps, None, plan, {})


def test_the_truth_scores_one() -> None:
    values, n, errors = evaluate.measure_model(
        SMALL, Oracle(), data.read_batches(SMALL, "val", 0)
    )
    assert n == 3
    # The paired jackknife of a mean is its standard error; the truth's own distance is 0.
    seen, truth = make_batch([make_window(SMALL, 30 + k) for k in range(3)])
    apart = (KeepVelocity(SMALL.future)(seen) - truth.path)[..., :2].norm(dim=-1)
    far = apart[:, :2].double().mean(1).numpy()
    assert errors["l2_mean_1s"] == pytest.approx(np.std(far, ddof=1) / 3**0.5)
    for name in ("iou_vehicle", "iou_lane", "iou_drivable", "future_iou", "pq", "sq", "rq"):
        assert values[name] == 1.0, name
    assert values["pq_moving"] == values["future_iou_moving"] == 1.0
    assert values["l2_mean_2s"] == 0
    assert values["score"] == 1.0


def test_iou_is_told_of_what_is_near_the_car_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "NEAR", 2.0)
    counts = evaluate.MetricCounts(defaultdict(list), defaultdict(list))
    grid = GroundGrid(x=(-2.0, 4.0), y=(-3.0, 2.0), step=1.0)
    made, true = np.ones((2, 6, 5), bool), np.zeros((2, 6, 5), bool)
    true[:, :4, 1:], true[1, 0, 1] = True, False
    evaluate.count_class(grid, counts, "lane", made, true)
    evaluate.count_class(grid, counts, "vehicle", ~made[0], true[0])
    values = evaluate.summarise_counts(counts)
    assert values == {
        "iou_lane": 31 / 60,
        "near_iou_lane": 31 / 32,
        "iou_vehicle": 0,
        "near_iou_vehicle": 0,
    }


def test_real_data_must_be_in_neuro_data(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("NEURO_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="set NEURO_DATA to the folder of nuscenes"):
        data.find_data(paper().source)
    (tmp_path / "nuscenes").mkdir()
    monkeypatch.setenv("NEURO_DATA", str(tmp_path))
    assert data.find_data(paper().source) == tmp_path / "nuscenes"


def test_configurations_are_complete() -> None:
    cameras = {
        f"small_{name}" for name in ("ann", "command", "reset", "multiply", "gate", "sweeps")
    }
    maps = {"maps", *(f"maps_{name}" for name in ("reset", "multiply", "gate"))}
    assert set(TASK.configs) == {"tiny", "small", "paper"} | cameras | maps
    assert TASK.configs["small"]() == small()
