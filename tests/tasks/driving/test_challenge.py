"""Plans and vehicles in the format of the prediction challenge, measured by the devkit."""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from driving_windows import small_config
from hypothesis import given, settings, strategies as st
from nuscenes.eval.prediction.compute_metrics import compute_metrics, main
from nuscenes.eval.prediction.data_classes import Prediction
from nuscenes_files import write_data_set
from torch import Tensor

from drivers.nuscenes.check.challenges import PREDICTION
from drivers.nuscenes.grid import GroundGrid
from drivers.nuscenes.problem import NuScenesError
from drivers.nuscenes.tables import Tables
from drivers.nuscenes.window import ImageSize
from drivers.nuscenes.windows import Windows
from neuro.base.seeds import seeded
from neuro.io.run_folder import Run
from tasks.driving import data, evaluate
from tasks.driving.batch import DrivingBatch, make_batch
from tasks.driving.challenge import (
    EgoHelper,
    Submission,
    find_middles,
    make_metrics,
    match_middles,
)
from tasks.driving.config import DrivingConfig, Source
from tasks.driving.cost import Costs
from tasks.driving.losses import make_instance_targets
from tasks.driving.metrics import summarise_paths
from tasks.driving.model import Driver, DrivingOutputs, Planned
from tasks.runs.task import Split

SCENES = ("scene-0061", "scene-0553")
FRAMES = 6


def write_questions(root: Path, *users: str) -> None:
    """Ask about users in all keyframes but the first two and the last six."""
    path = root / PREDICTION
    path.parent.mkdir(parents=True, exist_ok=True)
    asked = {s: [f"{s}-{u}_{s}-s{k}" for k in (2, 3) for u in users] for s in SCENES}
    path.write_text(json.dumps(asked))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two windows in each of two scenes; the challenge asks about two vehicles."""
    root = write_data_set(tmp_path_factory.mktemp("asked"))
    write_questions(root, "ahead", "parked")
    return root


@pytest.fixture(scope="module")
def config(root: Path) -> Iterator[DrivingConfig]:
    """Both scenes are the test split; on the grid of 1 m are all vehicles."""

    def list_scenes(tables: Tables, source: Source, split: Split) -> tuple[str, ...]:  # noqa: ARG001
        return SCENES

    small = small_config()
    data._find_split.cache_clear()
    data._open_tables.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "find_data", lambda _: root)
        patch.setattr(data, "list_scenes", list_scenes)
        yield replace(
            small,
            image=ImageSize(height=64, width=160, scale=1.0, crop=26),
            grid=GroundGrid(x=(-16.0, 48.0), y=(-32.0, 32.0), step=1.0),
            future=FRAMES,
            phases=tuple(replace(p, futures=FRAMES if p.futures else 0) for p in small.phases),
            source=Source(data="nuscenes", version="v1.0-mini"),
        )
    data._find_split.cache_clear()
    data._open_tables.cache_clear()


def read_truth(config: DrivingConfig) -> tuple[Windows, DrivingBatch]:
    windows = data.open_truth(config, "test")
    assert [span.scene for span in windows.spans] == [SCENES[0]] * 2 + [SCENES[1]] * 2
    return windows, make_batch([*windows])


def know_maps(instance: Tensor) -> dict[str, Tensor]:
    """Return the maps of a network that knows the instances (B T X Y)."""
    targets = make_instance_targets(instance)
    return {
        "vehicle": torch.where(instance > 0, 9.0, -9.0),
        "centre": targets.centre.clamp(1e-6, 1 - 1e-6).logit(),
        "offset": targets.offset.nan_to_num(),
        "flow": targets.flow.nan_to_num(),
    }


def make_outputs(
    maps: dict[str, Tensor], path: Tensor, candidates: Tensor, costs: Tensor
) -> DrivingOutputs:
    whole = Costs(frames=torch.zeros(*costs.shape, FRAMES), whole=costs)
    plan = Planned(candidates=candidates, costs=whole, taken=path, path=path, truth=None)
    return DrivingOutputs(depth=None, maps=maps, motion=None, plan=plan, balance={})


def submit_all(
    config: DrivingConfig, windows: Windows, truth: DrivingBatch, off: Tensor
) -> Submission:
    """Submit true maps, the true path moved by ``off`` (F 3), and 30 candidates."""
    path = truth.truth.path + off
    aside = torch.arange(30.0)[:, None, None] * torch.tensor([0.0, 0.1, 0.0])
    candidates = path[:, None] + aside
    costs = torch.arange(30.0).flip(0).expand(4, -1)  # the last one is the best
    submission = Submission(config, windows)
    submission.add(make_outputs(know_maps(truth.truth.instance), path, candidates, costs))
    return submission


OFF = torch.tensor([[0.3 * k, 0.4 * k, 0.0] for k in range(1, 7)])  # 0.5 m more a frame


def test_the_devkits_errors_of_plans_are_ours(config: DrivingConfig) -> None:
    windows, batch = read_truth(config)
    submission = submit_all(config, windows, batch, OFF)
    path = batch.truth.path + OFF
    ours = summarise_paths(evaluate.measure_plan(config, path, batch.truth))
    assert ours["l2_mean_3s"] == pytest.approx(0.5 * 3.5, abs=1e-5)
    ego = EgoHelper(windows.tables)
    for second in (1, 2, 3):
        frames = 2 * second
        cut = [
            {**plan, "prediction": [mode[:frames] for mode in plan["prediction"]]}
            for plan in submission.plans
        ]
        found = compute_metrics(cut, ego, make_metrics(frames))
        assert found["MinADEK"]["RowMean"][0] == pytest.approx(
            ours[f"l2_mean_{second}s"], abs=1e-5
        )
        assert found["MinFDEK"]["RowMean"][0] == pytest.approx(
            ours[f"l2_at_{second}s"], abs=1e-5
        )
    measured = submission.measure()["plan"]
    assert measured["predictions"] == 4
    assert measured["MinADEK"] == pytest.approx([1.75] * 3, abs=1e-5)
    assert measured["MinFDEK"] == pytest.approx([3.0] * 3, abs=1e-5)
    assert measured["MissRateTopK_2.0"] == [1.0] * 3  # 3 m off at the end


def test_candidates_are_modes_by_probability(config: DrivingConfig) -> None:
    windows, batch = read_truth(config)
    submission = submit_all(config, windows, batch, 0 * OFF)
    for row in map(Prediction.deserialize, submission.candidates):
        assert row.instance == "ego"
        assert row.prediction.shape == (25, FRAMES, 2)
        shares = np.exp(-np.arange(25.0)) / np.exp(-np.arange(30.0)).sum()
        np.testing.assert_allclose(row.probabilities, shares, rtol=1e-9)
    # The most probable is number 29, 2.9 m aside, the fifth 2.5 m, the tenth 2.0 m.
    found = submission.measure()["candidates of the plan"]
    assert found["MinADEK"] == pytest.approx([2.9, 2.5, 2.0], abs=1e-5)
    sharp = replace(config, planner=replace(config.planner, sharpness=3.0))
    (first, second, *_) = submit_all(sharp, windows, batch, OFF).candidates[0]["probabilities"]
    assert first / second == pytest.approx(np.exp(3.0))


def test_predicted_instances_belong_to_annotated_vehicles(config: DrivingConfig) -> None:
    windows, batch = read_truth(config)
    submission = submit_all(config, windows, batch, OFF)
    assert (submission.asked, submission.near) == (8, 8)
    assert len(submission.vehicles) == 8
    errors = []
    for row in submission.vehicles:
        sample, scene = row["sample"], row["sample"].rsplit("-", 1)[0]
        first = int(sample.rsplit("-s", 1)[1])
        (way,) = np.array(row["prediction"])
        rows = [
            windows.tables.get("sample_annotation", f"{row['instance']}{first + k}")
            for k in range(1, 7)
        ]
        assert row["instance"].startswith(scene)
        true = np.array([row["translation"][:2] for row in rows])
        errors.append(np.linalg.norm(way - true, axis=1))
        assert errors[-1].max() < 1.0  # a cell
    found = submission.measure()
    assert found["vehicles"]["MinADEK"][0] == pytest.approx(np.mean(errors))
    assert found["vehicles"]["MinFDEK"][0] == pytest.approx(np.mean(errors, 0)[-1])
    assert found["vehicles"]["MissRateTopK_2.0"] == [0.0] * 3
    # One drives straight ahead at its speed, the other one stands.
    plain = found["the same, constant velocity"]
    assert plain["predictions"] == 8
    assert plain["MinADEK"][0] == pytest.approx(0, abs=1e-6)


def test_vehicles_not_seen_or_lost_have_no_prediction(config: DrivingConfig) -> None:
    windows, batch = read_truth(config)
    instance = batch.truth.instance.clone()
    instance[0] *= instance[0] != 1  # not seen
    instance[1, -1] *= instance[1, -1] != 1  # lost in the last frame
    maps = know_maps(instance)
    submission = Submission(config, windows)
    path = batch.truth.path
    submission.add(make_outputs(maps, path, path[:, None], torch.zeros(4, 1)))
    assert submission.asked == 8
    left = [(a["instance"], a["sample"]) for a in submission.vehicles]
    assert len(left) == 6
    assert {sample for name, sample in left if name == f"{SCENES[0]}-ahead"} == set()


def test_vehicles_off_the_grid_or_without_a_true_way_are_counted(
    config: DrivingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows, batch = read_truth(config)
    empty = know_maps(torch.zeros(4, 7, 16, 16, dtype=torch.int32))
    path = batch.truth.path
    outputs = make_outputs(empty, path, path[:, None], torch.zeros(4, 1))
    short = replace(config, grid=GroundGrid(x=(0.0, 16.0), y=(-8.0, 8.0), step=1.0))
    submission = Submission(short, windows)
    submission.add(outputs)
    boxes = [windows.read_boxes(k) for k in range(4)]
    places = [
        (b.x, b.y) for of in boxes for b in of if b.instance.endswith(("ahead", "parked"))
    ]
    near = sum(0 <= x < 16 and -8 <= y < 8 for x, y in places)
    assert 0 < near < 8
    assert (submission.asked, submission.near, submission.short) == (8, near, 0)
    assert submission.vehicles == []
    submission = Submission(short, windows)
    monkeypatch.setattr(
        submission.helper, "get_future_for_agent", lambda *_, **__: np.zeros((5, 2))
    )
    submission.add(outputs)
    assert (submission.asked, submission.short) == (0, 8)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_files_are_what_the_devkits_command_evaluates(
    config: DrivingConfig, root: Path, tmp_path: Path
) -> None:
    windows, batch = read_truth(config)
    submission = submit_all(config, windows, batch, OFF)
    submission.write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "predictions.json", "plans.json", "candidates.json", "prediction_config.json",
    }  # fmt: skip
    found = submission.measure()
    caption = submission.tabulate(tmp_path, found).caption
    words = shlex.split(caption[caption.index("python -m") :])
    flags = dict(zip(words[3::2], words[4::2], strict=True))
    main(**{name.removeprefix("--"): value for name, value in flags.items()})
    theirs = json.loads((tmp_path / "predictions_metrics.json").read_text())
    for name in ("MinADEK", "MinFDEK", "MissRateTopK_2.0"):
        assert theirs[name]["RowMean"] == found["vehicles"][name]
    assert flags["--data_root"] == str(root)
    table = submission.tabulate(tmp_path, found)
    assert table.title == "Prediction challenge, 3 s instead of 6 s"
    assert [row[:2] for row in table.rows] == [
        ["vehicles", 8], ["the same, constant velocity", 8], ["plan", 4],
        ["candidates of the plan", 4],
    ]  # fmt: skip
    assert table.rows[2][2:] == ["1.75", "3.00", "1.00"]
    assert table.rows[3][2].count("/") == 2
    assert "asks about 8 vehicles here, 8 of them on the grid" in table.caption


def test_an_evaluation_writes_its_predictions(
    config: DrivingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "draw_pictures", lambda *_: [])
    few = replace(config, source=replace(config.source, test=1))
    run = Run(folder=tmp_path, task="driving", name="small", seed=0, config=few)
    with seeded(0), torch.no_grad():
        found = evaluate.evaluate(run, Driver(few).eval())
    assert found.facts["challenge"]["plan"]["predictions"] == found.n == 1
    assert found.facts["challenge"]["plan"]["MinADEK"][0] == pytest.approx(
        found.values["l2_mean_3s"], abs=1e-5
    )
    assert found.facts["challenge"]["plan"]["MinFDEK"][0] == pytest.approx(
        found.values["l2_at_3s"], abs=1e-5
    )
    assert "Prediction challenge, 3 s instead of 6 s" in [t.title for t in found.tables]
    assert len(json.loads((tmp_path / "plans.json").read_text())) == 1
    only_now = replace(config, phases=config.phases[:1])
    assert evaluate.open_submission(only_now) is None


def test_missing_questions_are_named_and_wrong_ones_refused(
    config: DrivingConfig, root: Path, tmp_path: Path
) -> None:
    windows, batch = read_truth(config)
    path = root / PREDICTION
    kept = path.read_bytes()
    try:
        path.unlink()
        submission = submit_all(config, windows, batch, OFF)
        submission.write(tmp_path)
        assert not (tmp_path / "predictions.json").exists()
        assert "prediction_scenes.json is missing: unpack the map expansion" in (
            submission.tabulate(tmp_path, submission.measure()).caption
        )
        for text, told in (
            ("[]", "is no object with a list of questions for each scene"),
            ("{", "is no JSON"),
            (json.dumps({SCENES[0]: ["scene-0061-ahead_lost"]}), "ahead_lost is not annotated"),
        ):
            path.write_text(text)
            with pytest.raises(NuScenesError, match=told):
                Submission(config, windows)
    finally:
        path.write_bytes(kept)


def test_the_helper_of_plans_knows_only_the_car(config: DrivingConfig) -> None:
    windows, _ = read_truth(config)
    ego = EgoHelper(windows.tables)
    future = ego.get_future_for_agent("ego", "scene-0061-s2", 3, in_agent_frame=False)
    assert np.linalg.norm(np.diff(future, axis=0), axis=1) == pytest.approx([4.0] * 5)
    with pytest.raises(ValueError, match="only 'ego' in the global frame, got 'scene"):
        ego.get_future_for_agent("scene-0061-ahead", "scene-0061-s2", 3, in_agent_frame=False)
    with pytest.raises(ValueError, match="global frame"):
        ego.get_future_for_agent("ego", "scene-0061-s2", 3, in_agent_frame=True)


places = st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), max_size=4)


@given(places, places)
@settings(max_examples=20)
def test_pairs_are_near_and_one_to_one(
    a: list[tuple[float, float]], b: list[tuple[float, float]]
) -> None:
    predicted, true = (np.array(x, float).reshape(-1, 2) for x in (a, b))
    pairs = match_middles(predicted, true)
    assert len(set(pairs.values())) == len(pairs)
    for j, i in pairs.items():
        assert np.linalg.norm(predicted[i] - true[j]) <= 2.0
    near = np.linalg.norm(predicted[:, None] - true[None], axis=-1) <= 2.0
    for i, j in np.argwhere(near):  # no near pair of two free ones is left
        assert j in pairs or i in pairs.values()


def test_a_far_vehicle_displaces_no_near_one() -> None:
    """The least total distance would pair (0, 1) and (1, 0): 1.9 + 0 m, with 3 m to go."""
    predicted, true = np.array([[0.0, 0], [1.9, 0]]), np.array([[1.9, 0], [20.0, 0]])
    assert match_middles(predicted, true) == {0: 1}


def test_middles_are_those_of_the_cells() -> None:
    grid = GroundGrid(x=(0.0, 4.0), y=(-2.0, 2.0), step=1.0)
    instance = np.zeros((2, 4, 4), np.int64)
    instance[0, 1:3, 2], instance[0, 0, 0], instance[1, 3, 2:4], instance[1, 0, 3] = 5, 2, 5, 9
    found = find_middles(instance, grid)
    np.testing.assert_array_equal(
        found, [[[0.5, -1.5], [np.nan, np.nan]], [[2.0, 0.5], [3.5, 1.0]]]
    )


def test_the_code_of_the_documentation_measures_plans(
    config: DrivingConfig, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    windows, batch = read_truth(config)
    submit_all(config, windows, batch, OFF).write(tmp_path)
    text = (Path(__file__).parents[3] / "docs" / "driving.md").read_text()
    (code,) = (c for c in re.findall(r"```python\n(.*?)```", text, re.S) if "EgoHelper" in c)
    exec(code.replace('"DATA"', repr(str(root))).replace("runs/driving", str(tmp_path)), {})
    assert "'MinADEK': {'RowMean': [1.75" in capsys.readouterr().out
