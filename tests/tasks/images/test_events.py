import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_data_sets import write_dvs_gesture, write_nmnist, write_shd, write_ssc

from drivers.event_camera import moving_bars
from neuro.graph import GradedInput
from neuro.nn import DelayedLinear
from neuro.nn.trace import trace
from tasks.cli import main
from tasks.images.events import (
    SOURCES,
    EventsConfig,
    batches,
    build,
    dvs_gesture,
    find_clips,
    find_shape,
    nmnist,
    shd,
    shd_delays,
    ssc_delays,
    tiny,
)
from tasks.measures.dry_run import measure_dry_run
from tasks.runs.configuration import list_problems
from tasks.runs.find import find_task, make_run

SETS = {
    "nmnist": write_nmnist,
    "dvs_gesture": write_dvs_gesture,
    "shd": write_shd,
    "shd_delays": write_shd,
    "ssc_delays": write_ssc,
}


def test_splits_share_no_recording_and_mix_the_classes() -> None:
    config = tiny()
    parts = {s: find_clips(config, s) for s in ("train", "val", "test")}  # type: ignore[arg-type]
    assert {s: len(c) for s, c in parts.items()} == {"train": 120, "val": 40, "test": 80}
    assert len({clip.time.tobytes() for clips in parts.values() for clip in clips}) == 240
    assert np.bincount(parts["test"].labels).tolist() == [10] * 8
    assert set(parts["val"].labels) == set(range(8))
    assert [clip.label for clip in parts["val"]] == parts["val"].labels.tolist()
    assert len(find_clips(replace(config, train=30), "train")) == 30


def test_a_tick_holds_the_events_of_its_span() -> None:
    """Checks all ticks in the order of the split; the first 50 of 80 clips are one batch."""
    config, clips = replace(tiny(), downsample=2), find_clips(tiny(), "test")
    (x, labels), (rest, _) = batches(config, "test", 0)
    assert (x.shape, rest.shape) == ((20, 50, 2, 8, 8), (20, 30, 2, 8, 8))
    assert labels.tolist() == clips.labels[:50].tolist()
    (counts, _), _ = batches(replace(config, code="direct"), "test", 0)
    expected, clip = np.zeros((20, 2, 8, 8)), clips[7]
    for column, row, polarity, time in zip(
        clip.x, clip.y, clip.polarity, clip.time, strict=True
    ):
        if (tick := (int(time) - clip.start) // 12_500) < 20:
            expected[tick, polarity, row // 2, column // 2] += 1
    assert expected.max() > 1
    assert torch.equal(counts[:, 7], torch.from_numpy(expected).float())
    assert torch.equal(x, counts.clamp(max=1))


def test_bars_are_named_after_their_direction() -> None:
    """x grows to the right, y down."""
    places = {"right": (1, 0), "left": (-1, 0), "up": (0, -1), "down": (0, 1)}
    clips = moving_bars.generate("test", 16, 8)
    for label, name in enumerate(SOURCES["bars"].classes):
        clip = clips[label]
        late = clip.time > np.median(clip.time)
        moved = [float(c[late].mean() - c[~late].mean()) for c in (clip.x, clip.y)]
        way = np.sum([places[word] for word in name.split()], 0)
        assert np.dot(moved, way) / np.linalg.norm(moved) / np.linalg.norm(way) > 0.9


@pytest.mark.parametrize(
    ("make", "shape", "parameters", "classes"),
    [
        (tiny, (2, 16, 16), 8 * 2 * 9 + 16 * 8 * 9 + 16 * 16 * 8, 8),
        (nmnist, (2, 34, 34), 16 * 2 * 9 + 32 * 16 * 9 + 32 * 64 * 10, 10),
        (
            dvs_gesture,
            (2, 32, 32),
            32 * 2 * 9 + 64 * 32 * 9 + 128 * 64 * 9 + 2048 * 256 + 256 * 11,
            11,
        ),
        (shd, (1, 1, 700), 700 * 256 + 256 * 256 + 256 * 20, 20),
        (shd_delays, (1, 1, 140), 140 * 256 + 256 * 256 + 256 * 20, 20),
        (ssc_delays, (1, 1, 140), 140 * 512 + 2 * 512 * 512 + 512 * 35, 35),
    ],
)
def test_networks_have_the_sizes_of_their_sources(
    make: Callable[[], EventsConfig],
    shape: tuple[int, int, int],
    parameters: int,
    classes: int,
) -> None:
    config = make()
    model = build(config).eval()
    assert sum(p.numel() for p in model.parameters() if p.dim() > 1) == parameters
    graph = trace(model, shape)
    assert find_shape(config) == shape
    assert graph.shapes["readout"] == (classes,)
    assert graph.dt == config.dt


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_a_data_set_of_tonic_goes_through_the_verbs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tonic")
    SETS[name](tmp_path, n=2)
    monkeypatch.setenv("NEURO_DATA", str(tmp_path))
    monkeypatch.setenv("NEURO_LAVA_PYTHON", "no-such-python")
    small = ["ticks=5", "dt=0.04", "held=4", "batch=3", "epochs=1", "compared=7"]
    small += {
        "shd": [],
        "shd_delays": ["hidden=[9,7]", "most=2"],
        "ssc_delays": ["hidden=[8]", "most=3"],
    }.get(name, ["blocks=3,0", "hidden=[]"])
    run = tmp_path / "run"
    words = [word for setting in small for word in ("--set", setting)]
    main(["train", f"events:{name}", "--out", str(run), *words])
    for verb in ("eval", "simulate", "verify"):
        main([verb, str(run)])
    found = json.loads((run / "eval.json").read_text())
    classes = SOURCES[name.removesuffix("_delays")].classes  # type: ignore[index]
    assert found["classes"] == list(classes)
    assert found["n"] == 2 * len(classes)
    assert [sum(row) for row in found["confusion"]] == [2] * len(classes)
    verified = json.loads((run / "verify.json").read_text())
    assert verified["torch_events"]["mismatches"] == 0
    assert json.loads((run / "simulate.json").read_text())["n"] == 7


def test_a_cochlea_has_one_row_of_channels_and_no_polarity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tonic")
    write_shd(tmp_path)
    monkeypatch.setenv("NEURO_DATA", str(tmp_path))
    ((x, labels),) = batches(replace(shd(), code="direct"), "test", 0)
    assert x.shape == (140, 20, 1, 1, 700)
    assert x.sum((0, 2, 3, 4)).tolist() == [60 + label for label in labels.tolist()]


def test_networks_with_delays_have_the_published_layers() -> None:
    layers = dict(build(shd_delays()).named_children())
    names = "flat drop1 fc1 norm1 dense1 drop2 fc2 norm2 dense2 drop3 fc readout"
    assert [*layers] == names.split()
    assert [layers[f"drop{k}"].p for k in (1, 2, 3)] == [0.0, 0.4, 0.4]  # type: ignore[union-attr]
    # (8156 - 800) // 256 = 28 batches, (75466 - 7500) // 128 = 530
    for config, most, soft in (
        (shd_delays(), 24, 28 * 150 // 2),
        (ssc_delays(), 30, 530 * 60 // 2),
        (replace(shd_delays(), train=700, epochs=3), 24, 3),
        (replace(shd_delays(), delays="fixed"), 24, 0),
    ):
        delayed = [m for m in build(config).modules() if isinstance(m, DelayedLinear)]
        assert len(delayed) == len(config.hidden) + 1
        for layer in delayed:
            assert (layer.kind, layer.most, layer.soft_steps) == ("synaptic", most, soft)
            assert layer.late.requires_grad == (config.delays == "learned")
    plain = build(replace(shd_delays(), delays="none"))
    assert not any(isinstance(m, DelayedLinear) for m in plain.modules())
    assert sum(p.numel() for p in build(shd_delays()).parameters()) == 214_020


def test_a_dry_run_of_delays_needs_no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEURO_DATA", raising=False)
    for name, parameters in (("shd_delays", 214_020), ("ssc_delays", 1_230_854)):
        dry = measure_dry_run(make_run(f"events:{name}"), 1)
        assert dry.parameters == parameters
        assert dry.whole.activations is not None


def test_channels_of_a_cochlea_are_summed_by_fives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tonic")
    write_shd(tmp_path)
    monkeypatch.setenv("NEURO_DATA", str(tmp_path))
    ((fine, _),) = batches(replace(shd(), code="direct"), "test", 0)
    ((summed, _),) = batches(replace(shd_delays(), code="direct"), "test", 0)
    assert torch.equal(summed, fine.unflatten(4, (140, 5)).sum(5))


def test_numbers_of_events_are_graded_spikes() -> None:
    task, config = find_task("events"), replace(tiny(), code="direct", test=6)
    model = build(config).eval()
    stimulus = next(iter(task.deployment.stimuli(config, model, "test")))
    counts, _ = next(iter(batches(config, "test", 0)))
    assert torch.equal(stimulus.inputs["input"], counts)
    graph = task.deployment.part(config, model)
    assert isinstance(graph.nodes["input"], GradedInput)
    plain = trace(model, counts.shape[2:])
    assert (graph.nodes["conv1"].weight == plain.nodes["conv1"].weight).all()  # type: ignore[union-attr]


def test_answers_are_named_by_the_source() -> None:
    describe = find_task("events").evaluation.describe
    given, labels = torch.tensor([1, 9]), torch.tensor([1, 0])
    assert describe(shd(), given, labels) == ["one → one", "zero → nine  ✗"]
    assert describe(nmnist(), given, labels) == ["1 → 1", "0 → 9  ✗"]


def test_all_problems_of_a_configuration_are_told_together() -> None:
    config = replace(shd(), downsample=3, dt=1.5e-6, code="direct", delays="fixed")
    with pytest.raises(ValueError, match="downsample is 3") as error:
        build(config)
    assert str(error.value).splitlines()[1:] == [
        "downsample is 3; it must divide 1 x 700 pixels",
        "delays are 'fixed' and recurrent is 256; use one of them",
        "dt is 1.5e-06; it must be a whole number of us, >= 1e-06",
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"downsample": 3}, ["downsample is 3; it must divide 16 x 16 pixels"]),
        ({"downsample": 16, "dt": 1e-6, "recurrent": 1, "ticks": 1}, []),
        ({"code": "direct", "recurrent": 3}, []),
        *(
            ({"dt": dt}, [f"dt is {dt}; it must be a whole number of us, >= 1e-06"])
            for dt in (1e-7, 4e-7, 1.5e-6)
        ),
    ],
)
def test_fields_that_do_not_suit_each_other_are_refused(changes: dict, said: list[str]) -> None:
    assert list_problems(replace(tiny(), **changes)) == said
