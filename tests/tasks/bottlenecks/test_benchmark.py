"""The bench of bottlenecks: arms, their sources and measures, claims, the picture."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from matplotlib.figure import Figure

from tasks.bench.claim import FAILS, HOLDS
from tasks.bench.experiment import Reached, measure
from tasks.bench.options import BenchOptions
from tasks.bench.rows import Row
from tasks.bottlenecks import bench, bench_findings as findings, narrowing
from tasks.bottlenecks.bench import complete_config, draw, find_place, list_experiments
from tasks.bottlenecks.bench_findings import CLOSED, CONTROLS, DEPTHS, LEARNED
from tasks.bottlenecks.config import BoundaryConfig, count_channels, find_side
from tasks.bottlenecks.task import count_bits
from tasks.runs.find import open_folder
from tasks.runs.trained_run import load_trained_model

FULL = list_experiments(quick=False)
GATED = "all channels with gates"
SEEDS = (4, 1, 7)


def test_arms_are_those_of_the_results() -> None:
    assert list(FULL) == ["untrained", "depth", "controls", "links", "spikes"]
    assert {experiment.seeds for experiment in FULL.values()} == {(0, 1, 2)}
    depth, spikes = FULL["depth"].arms, FULL["spikes"].arms
    widths = [f"{network}, trained, width {w}" for network in DEPTHS for w in (8, 4, 2, 1)]
    assert list(depth) == [*FULL["untrained"].arms, *widths] == [*DEPTHS, *widths]
    deep, spiking, priced = depth["deep"], spikes["spiking"], spikes["spiking, price 0.1"]
    assert (deep.channels, deep.blocks) == ((4, 8, 16, 16), (1, 1, 4, 4))
    assert (deep.epochs, deep.held, deep.batch, deep.lr) == (4, 500, 50, 1e-2)
    narrow = BoundaryConfig(after=(6,), widths=(8,), link="4bit")
    assert depth["deep, trained, width 8"] == replace(deep, epochs=2, narrow=narrow)
    assert (spiking.ticks, spiking.train, spiking.batch, spiking.epochs) == (4, 1500, 20, 6)
    narrow = BoundaryConfig(after=(3,), widths=(16,), link="spikes", price="aer", penalty=0.1)
    assert priced == replace(spiking, epochs=2, narrow=narrow)
    for config in (depth["shallow"], deep):  # the same values cross
        place = find_place(config)
        assert (count_channels(config, place), find_side(config, 28, place)) == (16, 7)


@pytest.mark.parametrize(
    ("part", "lines"),
    [("links", {"4bit": 4, "8bit": 3, "float": 1}), ("spikes", {"4bit": 3, "spikes": 3})],
)
def test_other_links_have_a_partner_of_as_many_bits(part: str, lines: dict[str, int]) -> None:
    bits = {
        link: {count_bits(c) for name, c in FULL[part].arms.items() if f", {link}, " in name}
        for link in lines
    }
    assert {link: len(own) for link, own in bits.items()} == lines
    assert all(own <= bits["4bit"] for own in bits.values())


def test_arms_begin_with_their_original_and_stand_beside_it() -> None:
    spikes, controls = FULL["spikes"], FULL["controls"]
    assert spikes.sources == dict.fromkeys(list(spikes.arms)[1:], "spiking")
    assert spikes.beside == dict.fromkeys(list(spikes.arms)[1:], ("spiking",))
    for arm, source in ((GATED, "deep"), (LEARNED, f"deep, {GATED}")):
        assert controls.sources[f"deep, {arm}"] == source
        assert controls.beside[f"deep, {arm}"] == ("deep",)
    for name in {*CONTROLS} - {CLOSED}:
        assert controls.sources[f"deep, {name}"] == f"deep, {LEARNED}"
        assert controls.beside[f"deep, {name}"] == ("deep", f"deep, {LEARNED}")


def test_controls_have_no_more_bits_than_learned_widths_and_train_as_long(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The gates have left 1 and 5 channels open, of 8 and 16."""
    arms, asked = FULL["controls"].arms, list[str]()
    gated = arms[f"shallow, {GATED}"]
    assert (gated.epochs, gated.narrow.gated, gated.narrow.after) == (1, True, (2, 3))
    assert gated.narrow.penalty * count_bits(gated) / 1000 == pytest.approx(60)
    more = {"gated": False, "penalty": 0.0, "gates": "g", "teacher": "original"}
    learned = replace(gated, narrow=replace(gated.narrow, widths=(1, 5), **more))

    def open_beside(_: object, arm: str) -> SimpleNamespace:
        asked.append(arm)
        return SimpleNamespace(config=learned)

    monkeypatch.setattr(bench, "open_beside", open_beside)
    runs = FULL["controls"].make_runs(tmp_path)
    names = [name for name in CONTROLS if name != CLOSED]
    controls = {name: complete_config(runs[f"shallow, {name}", 2]) for name in names}
    assert {*asked} == {f"shallow, {LEARNED}"}
    for name, config in controls.items():
        scratch = name == "from scratch"
        assert count_bits(config) <= count_bits(learned)
        assert (config.narrow.gated, config.narrow.gates) == (False, "")
        assert config.narrow.teacher == ("" if scratch else "original")
        assert config.epochs == (6 if scratch else 2)
    assert controls["pruning"].narrow.begin == "channels"
    assert controls["no distillation"].narrow.soft == 0
    assert controls["uniform widths"].narrow.widths != (1, 5)
    assert complete_config(runs["shallow", 2]) == arms["shallow"]


def train_shallow(part: str, folder: Path, *names: str) -> dict[str, Any]:
    """Return what small networks of two seeds reach."""
    experiment = list_experiments(quick=True)[part]
    own: dict[str, Any] = {
        field: {name: value for name, value in vars(experiment)[field].items() if name in names}
        for field in ("arms", "sources", "beside")
    }
    small = replace(experiment, **own, seeds=(3, 5), judge=lambda _: ())
    rows = measure(lambda _: {part: small}, "bench", part, BenchOptions(out=folder))
    return {row.subject: row.conditions["reached"] for row in rows}


@pytest.mark.slow
def test_narrow_networks_and_closed_forms_take_the_original_of_their_seed(
    tmp_path: Path,
) -> None:
    reached = train_shallow("depth", tmp_path, "shallow", "shallow, trained, width 2")
    closed = [f"shallow, closed form, width {width}" for width in (4, 2, 1)]
    assert list(reached) == ["shallow", *closed, "shallow, trained, width 2"]
    for seed in (3, 5):
        original = open_folder(tmp_path / f"bench/depth/shallow/seed-{seed}")
        run = open_folder(tmp_path / f"bench/depth/shallow-trained-width-2/seed-{seed}")
        config = narrowing.narrow_config(original, (2,), (2,), "4bit")
        assert run.config == replace(config, epochs=2)
        model = narrowing.build_in_closed_form(config, load_trained_model(original))
        found = original.read("measures.json")["closed form, width 2"]
        assert found["accuracy"] == narrowing.measure_point(config, model, "").accuracy
    trained = reached["shallow, trained, width 2"]
    assert trained["bits"]["seeds"] == (2 * 4 * 14 * 14,) * 2  # channels, bits, pixels
    assert trained["channels behind block 2"]["seeds"] == (2.0, 2.0)


@pytest.mark.slow
def test_widths_are_those_of_open_gates(tmp_path: Path) -> None:
    names = ("shallow", f"shallow, {GATED}", f"shallow, {LEARNED}")
    reached = train_shallow("controls", tmp_path, *names)
    folder = tmp_path.resolve() / "bench/controls"
    learned = open_folder(folder / "shallow-learned-widths/seed-5").config
    assert learned.narrow.gates == str(folder / "shallow-all-channels-with-gates/seed-5")
    assert learned.narrow.teacher == str(folder / "shallow/seed-5")
    closed = reached[f"shallow, {LEARNED}, closed form"]
    assert closed["bits"]["seeds"][1] == count_bits(learned)


def reach(right: Mapping[str, float], bits: Mapping[str, float], each: float = 0.0) -> Reached:
    """Return what networks reach in three seeds: a share less, as much, more."""
    return {
        name: {
            "accuracy": {seed: value + k * each for k, seed in enumerate(SEEDS, -1)},
            **{of: dict.fromkeys(SEEDS, bits.get(name, 1.0)) for of in ("bits", "least_bits")},
        }
        for name, value in right.items()
    }


@pytest.mark.parametrize(("cost", "verdict"), [((0.04, 0.02), HOLDS), ((0.02, 0.04), FAILS)])
def test_claims_of_the_paper_are_judged_by_pairs_of_one_seed(
    cost: tuple[float, float], verdict: str
) -> None:
    """Originals are right in 96 %, and each channel less than 16 has a cost."""
    lines = {"trained": (8, 4, 2, 1), "closed form": (16, 8, 4, 2, 1)}
    right = {
        f"{network}, {what}, width {width}": 0.96 - own * (16 - width)
        for network, own in zip(DEPTHS, cost, strict=True)
        for what, widths in lines.items()
        for width in widths
    }
    rows = [*findings.judge_depths(reach({**right, "shallow": 0.96, "deep": 0.96}, {}, 0.001))]
    falls, loses, at_one = rows[:3]
    assert falls.case == "finding: trained: accuracy falls from 8 channels to 1"
    assert falls.conditions["verdict"] == HOLDS
    assert (falls.ours, falls.theirs) == pytest.approx((96 - 24, 96 - 45))  # 3 % a channel
    assert loses.case.endswith("the shallow network loses more, 8, 4, 2, 1 channels")
    assert loses.conditions["verdict"] == verdict
    lost = [100 * (15 * cost[0]) / (0.96 + each) for each in (-0.001, 0, 0.001)]
    assert at_one.ours == pytest.approx(sum(lost) / 3)
    assert rows[3].ours == pytest.approx(96)  # the closed form of all channels
    assert [r.conditions["pairs"] for r in rows] == [6, 12, 3] * 2


def test_links_are_compared_at_equal_bits() -> None:
    right = {"4bit": 0.9, "8bit": 0.8, "float": 0.7, "spikes": 0.6}
    for part, pairs in (("links", {"8bit": 9, "float": 3}), ("spikes", {"spikes": 9})):
        arms = {n: c for n, c in FULL[part].arms.items() if "price" not in n}
        bits = {name: float(count_bits(c)) for name, c in arms.items()}
        reached = reach({n: right[c.narrow.link] for n, c in arms.items()}, bits)
        rows = list(findings.judge_links((*pairs, "missing"), reached))
        assert {row.peer: row.conditions["pairs"] for row in rows} == pairs
        assert [row.ours for row in rows] == pytest.approx([90] * len(rows))
        assert [row.theirs for row in rows] == pytest.approx([100 * right[k] for k in pairs])


def test_events_are_read_from_the_curve_of_values() -> None:
    """Accuracy rises by 10 points with each doubling of 784 bits."""
    names = [f"spiking, 4bit, width {width}" for width in (4, 2, 1)]
    priced = ["spiking, price 0.1", "spiking, price 0.5", "spiking, price 9"]
    right = {"spiking": 0.9, **dict(zip(names, (0.7, 0.6, 0.5), strict=True))}
    least = (3136.0, 1568.0, 784.0, 784 * 2**0.5, 99.0, 9e3)
    bits = dict(zip([*names, *priced], least, strict=True))
    rows = list(findings.judge_spikes(reach(right | dict.fromkeys(priced, 0.65), bits)))
    assert [row.subject for row in rows] == ["price 0.1", "price 0.5", "price 9"]
    assert [row.ours for row in rows] == pytest.approx([65, 65, 65])
    assert [row.theirs for row in rows] == pytest.approx([55, 50, 70])  # ends of the curve
    assert rows[1].note == "price 0.5: at 99, 99, 99 bits spikes 65.00, 4bit 50.00 % right"


def test_closed_forms_and_learned_widths_stand_beside_each_control() -> None:
    worse = {CLOSED: 0.9, "random cuts": 0.7, "pruning": 0.5}
    shares = {f"{name}, 1/{k}": right for name, right in worse.items() for k in (2, 4, 8)}
    found = reach({f"{n}, {name}": v for n in DEPTHS for name, v in shares.items()}, {})
    rows = list(findings.judge_untrained((2, 4, 8), found))
    assert [(r.peer, r.conditions["pairs"]) for r in rows] == [(k, 18) for k in worse][1:]
    assert [r.theirs for r in rows] == pytest.approx([70, 50])
    names = {name: 0.8 - 0.01 * k for k, name in enumerate(CONTROLS)}
    names |= {f"{LEARNED}, {CLOSED}": names.pop(CLOSED), LEARNED: 0.9}
    reached = reach({f"{n}, {k}": v for n in DEPTHS for k, v in names.items()}, {})
    *rows, cuts = findings.judge_controls(reached)
    assert [(r.subject, r.peer) for r in rows] == [(LEARNED, name) for name in CONTROLS]
    assert [r.theirs for r in rows] == pytest.approx([80, 79, 78, 77, 76, 75])
    assert {r.conditions["pairs"] for r in rows} == {6}
    assert (cuts.ours, cuts.theirs) == pytest.approx((79, 80))


def test_the_picture_has_lines_of_accuracy_over_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(bench, "save_png", lambda figure, _: figures.append(figure))
    none: dict[str, Any] = {"unit": "", "peer": "", "ours": None, "theirs": None, "ratio": None}

    def make_row(subject: str, **reached: Any) -> Row:
        return Row(case="depth: x", subject=subject, conditions={"reached": reached}, **none)

    rows = [
        make_row(
            f"shallow, trained, width {width}",
            accuracy={"mean": 0.5 + 0.01 * width, "seeds": (0.4, 0.2 + width)},
            least_bits={"mean": 4.0 * width},
        )
        for width in (1, 8, 4)
    ]
    draw([make_row("shallow"), *rows, Row(case="finding", subject="", **none)], Path("none"))
    ((panel,),) = (figure.axes for figure in figures)
    line, *points = panel.lines
    assert (panel.get_title("left"), line.get_label()) == ("depth", "shallow, trained")
    assert [*line.get_xdata()] == [4.0, 16.0, 32.0]  # type: ignore[misc]
    assert [*line.get_ydata()] == pytest.approx([51, 54, 58])  # type: ignore[misc]
    assert [*points[1].get_xdata()] == [16.0, 16.0]  # type: ignore[misc]
    assert [*points[1].get_ydata()] == pytest.approx([40, 420])  # type: ignore[misc]
