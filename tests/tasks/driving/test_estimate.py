from dataclasses import replace

import pytest
from driving_windows import small_config

pytest.importorskip("nuscenes")

from tasks.driving import estimate
from tasks.driving.config import Source
from tasks.driving.estimate import (
    count_activations,
    count_train_windows,
    count_windows,
    count_work,
    estimate_training,
    find_rate,
    measure_pieces,
    measure_reading,
)
from tasks.driving.presets import paper, small

SMALL = replace(small_config(), source=Source(data="nuscenes", held=50))
FIRST, _, LAST = SMALL.phases


def test_windows_follow_from_keyframes_and_scenes() -> None:
    config = paper()
    assert count_windows(config) == 28_130 - 700 * 8 == 22_530
    assert count_train_windows(config) == 22_530 * 650 // 700 == 20_920
    some = replace(config, source=replace(config.source, train=100))
    assert count_train_windows(some) == 100
    assert count_windows(replace(config, past=1)) == 22_530 + 2 * 700


def test_only_the_large_data_set_is_estimated() -> None:
    assert estimate_training(small()) == ()
    source = Source(data="nuscenes", version="v1.0-mini")
    assert estimate_training(replace(SMALL, source=source)) == ()
    with pytest.raises(ValueError, match=r"has 700 training scenes, .* held=700 of th"):
        estimate_training(replace(SMALL, source=replace(SMALL.source, held=700)))


@pytest.mark.slow
def test_the_work_of_a_stage_is_that_of_its_outputs() -> None:
    work = count_work(SMALL, LAST)
    assert set(work) == {"encoder", "prediction", "decoder", "heads", "planner"}
    maps = count_work(SMALL, FIRST)
    assert maps["encoder"] == work["encoder"]
    frames = SMALL.past, SMALL.past + SMALL.future
    assert maps["decoder"] * frames[1] == work["decoder"] * frames[0]
    assert set(maps) == {"encoder", "decoder", "heads"}
    single = count_work(SMALL, replace(FIRST, past=1))
    assert single["encoder"] * SMALL.past == maps["encoder"]


@pytest.mark.slow
def test_the_table_says_what_follows_from_what_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pieces = {"encoder": 1e-9, "decoder": 3e-9}
    monkeypatch.setattr(estimate, "measure_pieces", lambda _: pieces)
    monkeypatch.setattr(estimate, "measure_reading", lambda _: (0.02, 0.01, 0.002))
    config = replace(SMALL, image=paper().image, phases=(replace(FIRST, frozen=("encoder",)),))
    (table,) = estimate_training(config)
    rows = {row[0].strip(): row[1:] for row in table.rows}
    assert rows["windows"] == ("23,930", "28,130 keyframes of 700 scenes")  # - 700 (3 + 4 - 1)
    work = count_work(config, config.phases[0])
    seconds = (work["encoder"] + 3 * (work["decoder"] + work["heads"])) / 1e9
    assert rows["a step here"][0] == f"{2 * seconds / 60:.0f} min"
    fast = 0.4 * 156e12 / (6 * sum(work.values()))
    assert find_rate(config, work, 0.4) == pytest.approx(fast)
    assert rows["windows a second, an A100"][0] == f"{fast / 4:.1f} to {fast:.1f}"
    train = count_train_windows(config)
    slow_hours = train / fast / 3600 * 4
    assert rows["hours an epoch, 1 GPU"][0] == f"{slow_hours / 4:,.1f} to {slow_hours:,.1f}"
    assert rows["cores that decode them"][0] == f"up to {18 * fast * 0.02:.1f}"
    assert rows["disk of a cache"][0] == "66 GB"  # 34,149 x 6 x 3 x 224 x 480
    assert "an A100 at 10% to 40% of 156 TFLOP/s (32-true)" in table.caption
    assert rows["activations of a window"][1].startswith("float32; recomputed: ")
    (table,) = estimate_training(replace(config, precision="bf16-mixed"))
    rows = {row[0].strip(): row[1:] for row in table.rows}
    assert rows["activations of a window"][1].startswith("float32 (bf16-mixed keeps less); re")
    again = replace(config, recomputes=True)
    assert find_rate(again, work, 0.4) == pytest.approx(fast * 3 / 4)


@pytest.mark.slow
def test_recomputing_needs_less_memory_and_frozen_parts_none() -> None:
    whole, less = (count_activations(SMALL, FIRST, recomputes) for recomputes in (False, True))
    assert 0 < less < 0.8 * whole
    frozen = count_activations(SMALL, replace(FIRST, frozen=("encoder",)), False)
    assert frozen < 0.5 * whole


def test_pieces_are_measured_and_images_of_another_size_are_refused() -> None:
    pieces = measure_pieces(SMALL)
    assert set(pieces) == {"encoder", "decoder"}
    assert min(pieces.values()) > 0
    assert min(measure_reading(paper().image)) > 0
    ((what, refused, why),) = estimate.list_reading(SMALL, 1.0)
    assert (what, refused) == ("reading", "refused")
    assert "1600 x 900 pixels, scaled by 1.0 and cut by 0 rows" in why
