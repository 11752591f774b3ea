"""What planners make of test windows: paths, maps, forecasts."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from driving_runs import MANY, SMALL, make_run, put_small
from driving_windows import make_window
from torch import nn

from tasks.driving.batch import Observation, make_batch
from tasks.driving.bench import entrants, window_results
from tasks.driving.bench.entrants import list_plain, list_trained, open_comparison
from tasks.driving.bench.window_results import (
    EMPTY,
    OWN,
    OWN_COPY,
    OWN_WARP,
    PRIOR,
    TRUE_COPY,
    TRUE_WARP,
    WindowResults,
    count_truth,
    digest_tables,
    evaluate_windows,
    find_driver,
    from_json,
    look,
    warp,
)
from tasks.driving.data import read_batches
from tasks.driving.evaluate import measure_model, summarise_counts


@pytest.fixture(autouse=True, scope="module")
def _small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        put_small(patch)
        patch.setattr(entrants, "EPOCHS", 2)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run "a", and later with what was observed."""
    made = tmp_path_factory.mktemp("observed")
    make_run(made / "a")
    return made


@pytest.fixture(scope="module")
def observed(folder: Path) -> dict[str, dict[int, WindowResults]]:
    found = open_comparison([folder / "a"])
    return evaluate_windows([*list_trained(found), *list_plain(found)], SMALL, folder)


@pytest.mark.slow
def test_a_run_has_the_figures_of_its_evaluation(
    observed: dict[str, dict[int, WindowResults]], folder: Path
) -> None:
    one = observed["driving:small"][0]
    assert one.token == tuple(f"sample-{40 + k}" for k in range(4))
    assert one.scene == ("scene-0000",) * 2 + ("scene-0001",) * 2
    driver = find_driver(list_trained(open_comparison([folder / "a"]))[0].make())  # type: ignore[arg-type]
    values, n, _ = measure_model(SMALL, driver, read_batches(SMALL, "test", 0))
    assert n == MANY["test"]
    mine = summarise_counts(from_json(one.counts[OWN]))
    assert mine.keys() <= values.keys()
    for name, value in mine.items():
        assert value == pytest.approx(values[name], nan_ok=True), name
    copied = summarise_counts(from_json(one.counts[OWN_COPY]))
    for name in ("future_iou", "future_iou_moving"):
        assert copied[name] == pytest.approx(values[f"{name}_static"], nan_ok=True)
    assert one.errors.distance.mean() == pytest.approx(values["l2_mean_2s"])


@pytest.mark.slow
def test_planners_without_cameras_have_paths_and_no_maps(
    observed: dict[str, dict[int, WindowResults]],
) -> None:
    straight = observed["constant velocity"][0]
    assert straight.counts == {}
    assert straight.errors.distance.max() < 1e-5  # windows drive straight on
    still = observed["stops"][0]
    speeds = [make_window(SMALL, 40 + k).speed[-1] for k in range(4)]
    assert still.errors.distance[:, 3].tolist() == pytest.approx([2 * v for v in speeds])
    assert np.shape(observed["ego-only MLP"][0].path) == (4, 4, 3)
    blind, sighted = observed["driving:small, cameras blanked"][0], observed["driving:small"][0]
    assert blind.token == sighted.token
    assert blind.counts.keys() == sighted.counts.keys()


def test_a_blanked_run_is_shown_black_images(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bright: list[bool] = []

    class Enough(Exception):
        pass

    def watch(_: object, seen: Observation) -> None:
        bright.append(bool(seen.images.any()))
        raise Enough

    monkeypatch.setattr(window_results, "look", watch)
    for entrant in list_trained(open_comparison([folder / "a"])):
        with pytest.raises(Enough):
            window_results.evaluate_run(SMALL, entrant.make())
    assert bright == [True, False]


@pytest.mark.slow
def test_what_is_known_is_not_observed_again(
    observed: dict[str, dict[int, WindowResults]], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window_results, "evaluate_run", None)
    monkeypatch.setattr(window_results, "evaluate_plain", None)
    found = open_comparison([folder / "a"])
    assert (
        evaluate_windows([*list_trained(found), *list_plain(found)], SMALL, folder) == observed
    )


def test_forecasts_without_learning_are_those_of_the_truth() -> None:
    values = {k: summarise_counts(c) for k, c in count_truth(SMALL).items()}
    assert set(values) == {EMPTY, PRIOR, TRUE_COPY, TRUE_WARP}
    # One car drives on a cell a frame, so that a warp knows all; another one stands.
    for name in ("future_iou", "future_iou_moving", "pq", "sq", "rq", "pq_moving"):
        assert values[TRUE_WARP][name] == 1.0
    # Of 2 cells each, the moving car is hit by one of its two after one frame, then by none.
    assert values[TRUE_COPY]["future_iou"] == (4 * 2 + 1) / (4 * 2 + 3 + 3 * 4)
    assert values[TRUE_COPY]["future_iou_moving"] == 1 / (3 + 3 * 4)
    assert all(v == 0 for k, v in values[EMPTY].items() if "pedestrian" not in k)
    # Cars, road and lanes are the same in all windows; pedestrians are noise.
    for name in ("iou_vehicle", "iou_lane", "iou_drivable", "future_iou"):
        assert values[PRIOR][name] == 1.0
    assert values[PRIOR]["iou_pedestrian"] < 0.5
    assert "pq" not in values[PRIOR]


def test_what_is_of_no_instance_stays_in_a_warp() -> None:
    before, now, mask = np.zeros((3, 6, 4), np.int64)
    before[0, 0], now[1, 0] = 1, 1
    mask[1, 0] = mask[5, 3] = 1
    found = warp(before, now, mask > 0, 3)
    assert found.instance is not None
    assert [np.argwhere(m).tolist() for m in found.vehicle] == [
        [[1, 0], [5, 3]],
        [[2, 0], [5, 3]],
        [[3, 0], [5, 3]],
    ]
    assert found.instance[2, 3, 0] == 1
    assert found.instance[2, 5, 3] == 0


def test_maps_of_the_frame_before_are_those_of_its_tick(folder: Path) -> None:
    (entrant, _) = list_trained(open_comparison([folder / "a"]))
    driver = find_driver(entrant.make())  # type: ignore[arg-type]
    for module in driver.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.bias)  # so that neurons fire, now here, now there
    seen = make_batch([make_window(SMALL)]).seen
    outputs, before = look(driver, seen)
    assert set(before) == {"vehicle", "centre", "offset", "flow"}
    with torch.no_grad():
        states = driver.prediction(driver.perceive(seen).states, SMALL.future).states
        spikes = driver.decoder(states)
        want = driver.read_maps(spikes[1:3], ("vehicle",))["vehicle"]
    torch.testing.assert_close(before["vehicle"], want[:, :1])
    torch.testing.assert_close(outputs.maps["vehicle"][:, :1], want[:, 1:])
    assert not torch.allclose(want[:, :1], want[:, 1:])
    assert not driver.decoder._forward_hooks


@pytest.mark.slow
def test_own_forecasts_begin_with_the_own_present(
    observed: dict[str, dict[int, WindowResults]],
) -> None:
    counts = observed["driving:small"][0].counts
    assert set(counts) == {OWN, OWN_COPY, OWN_WARP}
    assert set(counts[OWN_WARP]["segments"]) == {"pq", "pq_moving"}


def test_data_are_others_where_a_table_a_map_or_the_can_bus_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window_results, "find_data", lambda _: tmp_path)
    version = SMALL.source.version
    found = set()
    for name in (f"{version}/sample_annotation", "maps/expansion/a", "can_bus/scene-0061_pose"):
        path = tmp_path / f"{name}.json"
        path.parent.mkdir(parents=True)
        for text in ("[]", "[1]"):
            path.write_text(text)
            found.add(digest_tables(SMALL.source))
            assert digest_tables(SMALL.source) in found
    assert len(found) == 6
