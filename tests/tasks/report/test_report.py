import io
import os
import re
from base64 import b64encode
from dataclasses import asdict, replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from energy_results import CONVENTION, chip
from matplotlib.figure import Figure
from PIL import Image

from neuro.io.record_file import load_record, save_record
from neuro.io.run_folder import RunError, begin_run
from neuro.io.store import StoreError
from neuro.spikes import to_events
from neuro.spikes.record import Record
from tasks.images.classification.mnist import tiny
from tasks.report import figures as pictures, html, report, tables as show
from tasks.report.report import show_parity, write_report
from tasks.runs.find import find_task, make_run
from tasks.runs.provenance import describe_provenance, digest_file
from tasks.runs.task import Html, TaskRun

VOID = {"meta", "br", "img", "hr"}
HOSTILE = "<script src='http://x'>&\"$a_b$"


class Balance(HTMLParser):
    """Fails on the first tag that is closed out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:  # noqa: ARG002
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None: ...

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def begun(folder: Path) -> TaskRun:
    run = make_run("mnist:tiny", folder, 7)
    begin_run(run)
    return run


@pytest.fixture
def run(tmp_path: Path) -> TaskRun:
    """A run that has just begun."""
    return begun(tmp_path / "a run")


@pytest.fixture
def unpainted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are made, but not written: ``page`` has them, and tests of pictures."""

    def name_alone(figure: Figure, name: str, title: str) -> Html:  # noqa: ARG001
        return Html(f"<svg><title>{title}</title></svg>")

    monkeypatch.setattr(pictures, "_svg", name_alone)
    monkeypatch.setattr(pictures, "save_png", lambda *_, **__: None)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a run where every verb has been."""
    run = begun(tmp_path_factory.mktemp("finished") / "run")
    finish(run)
    return written(run)


def activity(layer: str = "alif1", ticks: int = 4, samples: int = 8) -> Record:
    rng = np.random.default_rng(0)
    image = (rng.random((ticks, samples, 784)) < 0.2).astype(np.float32)
    spikes = (rng.random((ticks, samples, 130)) < 0.1).astype(np.float32)
    membrane = rng.normal(size=(ticks, samples, 10))
    membrane[:, 0, 3] += 100
    return Record(
        executor="events",
        ticks=ticks,
        samples=samples,
        spikes={"input": to_events(image), layer: to_events(spikes)},
        values={"readout": membrane},
    )


def finish(run: TaskRun, layer: str = "alif1", samples: int = 8) -> None:
    """Fill a run with what the verbs leave behind. samples: that the report draws."""
    captions = ["5 → 3  ✗", "1 → 1", *(f"{k} → {k}" for k in range(2, 8))]
    now = {"measured_on": describe_provenance(run)}
    run.write_lines(
        "metrics.jsonl",
        [
            {"epoch": 1, "train_loss": 2.162, "val_accuracy": 0.51},
            {"epoch": 2, "train_loss": 1.845, "val_accuracy": 0.553},
        ],
    )
    confusion = np.diag([91] * 10)
    confusion[4, 9] = 17
    run.write(
        "eval.json",
        {
            **now,
            "accuracy": 0.9817,
            "n": 927,
            "correct": 910,
            "split": "test",
            "classes": list("0123456789"),
            "confusion": confusion.tolist(),
        },
    )
    save_record(run.folder / "records" / "events.safetensors", activity(layer, samples=samples))
    counts = {"spikes": 52.1, "synaptic_events": 4321.5, "updates": 99.9}
    run.write(
        "simulate.json",
        {
            **now,
            "clock": "grid",
            "accuracy": 0.9806,
            "n": 927,
            "per_sample": {layer: counts},
            "milliseconds_per_sample": 6.82,
            "input_shapes": {"input": [1, 28, 28]},
            "record": digest_file(run.folder / "records" / "events.safetensors"),
            "captions": captions[:samples],
        },
    )
    run.write(
        "verify.json",
        {
            **now,
            "torch_events": {
                "layers": {layer: {"spikes": 113639, "mismatches": 3, "margins": [2.5e-16]}},
                "mismatches": 3,
                "float32_flips": {
                    layer: {"flips": 12, "largest_margin": 1.3e-8, "executors": 2, "near": 31}
                },
                "unexplained": [],
            },
            "reference_lava": {
                "samples": 8,
                "layers": {layer: {"spikes": 900, "mismatches": 0, "first": None}},
                "mismatches": 0,
            },
            "quantisation": {layer: 0.00123},
            "metrics": {"accuracy": {"torch": 0.9817, "events": 0.9806, "integers": 0.9731}},
            "n": 927,
        },
    )
    scaled = {
        "layer": layer,
        "kind": "alif",
        "scale": 181.3,
        "weight_min": -252,
        "weight_max": 254,
        "weight_error_max": 0.001,
        "threshold_error": 0.002,
        "decay_error": 0.0003,
        "lag": 4,
        "head_room": 0.125,
    }
    run.write("export.json", {**now, "scaling": [scaled]})
    use = {"neurons": 0.127, "synapse_words": 0.031, "in_axons": 0.0}
    chips = {
        "loihi1": chip("Loihi 1", 2.6e-6, layer, **use),
        "loihi2": chip("Loihi 2", 4.4e-7, layer, **use),
    }
    run.write("energy.json", {**now, **chips, "conventional45nm": CONVENTION})


def written(run: TaskRun) -> str:
    return write_report(run).read_text()


def words(page: str) -> str:
    """What a reader sees, without markup."""
    body = re.sub(r"<style.*?</style>", "", page, flags=re.DOTALL)
    return unescape(re.sub(r"<[^>]*>", " ", body))


@pytest.mark.usefixtures("unpainted")
class TestAPartialRun:
    def test_names_the_verb_that_makes_what_is_missing(self, run: TaskRun) -> None:
        seen = words(written(run))
        folder = f"'{run.folder}'"  # quoted for the shell: it has a space
        for verb in ("eval", "simulate", "verify", "export", "energy"):
            assert f"neuro {verb} {folder}" in seen
        assert f"neuro train mnist:tiny --out {folder} --seed 7" in seen

    @pytest.mark.parametrize(
        ("file", "verb"),
        [
            ("metrics.jsonl", "train"),
            ("eval.json", "eval"),
            ("simulate.json", "simulate"),
            ("records/events.safetensors", "simulate"),
            ("verify.json", "verify"),
            ("export.json", "export"),
            ("energy.json", "energy"),
            ("environment.json", ""),
        ],
    )
    def test_lacks_only_what_it_lacks(self, run: TaskRun, file: str, verb: str) -> None:
        finish(run)
        (run.folder / file).unlink()
        asked = set(re.findall(r"not measured yet: +neuro (\w+)", words(written(run))))
        assert asked == ({verb} if verb else set())

    @pytest.mark.slow
    def test_asks_for_no_verb_that_refuses_the_run(self, tmp_path: Path) -> None:
        run = make_run("language:small", tmp_path)
        begin_run(run)
        page = words(written(run))
        assert set(re.findall(r"not measured yet: +neuro (\w+)", page)) == {"train", "eval"}
        assert page.count("this language model stays on torch: its maps are float") == 1
        assert "From floats to integers" not in page


class TestParity:
    def test_tells_the_farthest_flip_and_sums_over_layers_and_what_lava_says(self) -> None:
        flips = {"flips": 9, "largest_margin": 1e-9, "executors": 2, "near": 3}
        more = {"flips": 1, "largest_margin": 4e-8, "executors": 5, "near": 4}
        layer = {"spikes": 10, "mismatches": 2, "margins": [1e-16, 3e-16]}
        verify = {
            "n": 7,
            "torch_events": {
                "layers": {"a": layer, "b": {**layer, "margins": []}},
                "mismatches": 4,
                "float32_flips": {"a": flips, "b": more},
                "unexplained": [{}],
            },
            "reference_lava": {"samples": 3, "layers": {}, "mismatches": 0},
            "quantisation": {},
        }
        seen = words(show_parity(verify))
        for told in (
            "7 test samples; Lava 3 of them.",
            "The farthest float32 flip lay 4e-08 from its threshold",
            "7 membranes came so near",
            "both in float32, differ in 7 spikes",
            "that rounding does not explain: 1.",
            "a: differing spikes lay up to 3e-16 from the threshold.",
        ):
            assert told in seen, told
        assert "b: differing spikes" not in seen
        several = words(show_parity({**verify, "without_metric": ["c", "d"]}))
        assert "Lava 3 of them, summed over 3 networks." in several
        cause = "reference 1, lava 0; after it u = 64, v = 0, a = 0"
        first = {"layer": "a", "neuron": 12, "tick": 3, "sample": 1, "cause": cause}
        verify["reference_lava"]["layers"] = {
            "a": {"spikes": 9, "mismatches": 5, "first": first}
        }
        told = f"a first differs from Lava at tick 3, sample 1, neuron 12: {cause}"
        assert told in words(show_parity(verify))
        verify["reference_lava"] = {"samples": 0, "skipped": "no lava here; run make lava"}
        told = "Lava was not run: no lava here; run make lava"
        assert told in words(show_parity(verify))


class TestIntegersOfAChipOfItsOwn:
    def leave_behind(self, run: TaskRun, **changed: Any) -> None:
        """Write ``export-xylo.json`` as ``neuro export --chip xylo`` does."""
        scaled = {"layer": "alif1", "kind": "hidden", "scale": 64.0, "lag": 0}
        bounds = {"weight_min": -90, "weight_max": 127, "head_room": 0.875}
        errors = dict.fromkeys(("weight_error_max", "threshold_error", "decay_error"), 0.01)
        result = {
            "measured_on": describe_provenance(run),
            "chip": "Xylo Audio 2 (Rockpool)",
            "scaling": [scaled | bounds | errors],
            "layers": {"alif1": {"spikes": 4321, "integers": 4310, "differ": 0.0123}},
            "metrics": {"accuracy": {"floats": 0.9817, "integers": 0.9642}},
            "excess": ["alif1: fired more than once in a tick 7 times of 9,000"],
            "n": 927,
            "ticks": 4,
        }
        run.write("export-xylo.json", {**result, **changed})

    @pytest.mark.usefixtures("unpainted")
    def test_stand_beside_the_floats(self, run: TaskRun) -> None:
        assert "integers of Xylo" not in words(written(run))
        self.leave_behind(run)
        seen = words(written(run))
        for told in (
            "From floats to integers of Xylo Audio 2 (Rockpool)",
            "-90..127",
            "87.5%",
            "4,310",
            "927 test samples of 4 ticks; accuracy: floats 98.17%, integers 96.42%",
            "alif1: fired more than once in a tick 7 times of 9,000",
        ):
            assert told in seen, told
        assert "The result of export --chip xylo" not in seen

    @pytest.mark.usefixtures("unpainted")
    def test_of_earlier_weights_say_so(self, run: TaskRun) -> None:
        old = {**describe_provenance(run), "weights": "0"}
        self.leave_behind(run, measured_on=old)
        seen = words(written(run))
        assert "The result of export --chip xylo below is of earlier weights" in seen
        assert f"neuro export --chip xylo '{run.folder}'" in seen

    def test_that_are_damaged_are_refused_with_the_command(self, run: TaskRun) -> None:
        self.leave_behind(run, layers=3)
        with pytest.raises(StoreError, match=r"layers.*; neuro export --chip xylo writes it"):
            write_report(run)


class TestAFinishedRun:
    @pytest.mark.parametrize(
        "change",
        [
            {"input_shapes": {"input": [1, 28, 27]}},
            {"input_shapes": {"image": [1, 28, 28]}},
            {"input_shapes": {}},
            {"captions": ["5 → 3"]},
        ],
    )
    def test_does_not_draw_the_record_of_another_network(
        self, run: TaskRun, change: dict[str, Any]
    ) -> None:
        finish(run)
        run.write("simulate.json", {**run.read("simulate.json"), **change})
        with pytest.raises(StoreError, match=r"simulate.json: and records/events.* are of"):
            report._activity(run, run.read("simulate.json"))

    @pytest.mark.slow
    def test_does_not_draw_the_record_of_another_run(self, run: TaskRun) -> None:
        finish(run)
        path = run.folder / "records" / "events.safetensors"
        report._activity(run, run.read("simulate.json"))
        record = load_record(path)
        save_record(path, replace(record, digest="ab"))  # of other weights, all else the same
        with pytest.raises(StoreError, match=r"events.*: is of another run, .*writes both"):
            report._activity(run, run.read("simulate.json"))

    @pytest.mark.parametrize("name", ["../secret.png", "/etc/hostname", "link.png", "a\0.png"])
    def test_shows_no_picture_from_outside_its_folder(
        self, run: TaskRun, tmp_path: Path, name: str
    ) -> None:
        (tmp_path / "secret.png").write_bytes(b"secret")
        (run.folder / "link.png").symlink_to(tmp_path / "secret.png")
        (run.folder / "own.png").write_bytes(own := make_picture("PNG", 4, 3))
        picture = {"title": "t", "caption": "c"}
        shown = report._picture(run, {**picture, "file": "own.png"})
        assert b64encode(own).decode() in shown
        told = r"eval.json: '.*png|hostname' is no file of the run folder, and no other is read"
        with pytest.raises(RunError, match=told):
            report._picture(run, {**picture, "file": name})

    def test_draws_no_curve_of_counters(
        self, run: TaskRun, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        drawn: list[Any] = []
        monkeypatch.setattr(pictures, "draw_curves", lambda *given: drawn.append(given) or "")
        row = {"epoch": 1, "train_loss": 2.0, "val_accuracy": 0.5}
        run.write_lines("metrics.jsonl", [{**row, "spikes": 9, "raised": 3}])
        assert "raised the slopes of 3 of 9 spikes" in report._training(run)
        assert drawn == [([row], ["val_accuracy"])]

    @pytest.mark.slow
    def test_shows_every_figure(self, page: str) -> None:
        assert "not measured yet" not in page
        seen = words(page)
        for figure in (
            *("mnist:tiny", "it is too small to do well", "seed 7", "2.162", "1.845", "0.553"),
            *("98.17%", "927", "910 of 927", " 91 ", " 17 "),
            *("98.06%", "52.1", "4,321.5", "99.9", "6.82 ms"),
            *("113,639", "2.5e-16", "12", "1.3e-08", "0.123%", "97.31%", "0.75 points"),
            *("181.3", "2.6 µJ (1.3 µJ – 7.8 µJ)", "26 µJ (13 µJ – 78 µJ)", "440 nJ"),
            *("176 nJ", "409 nJ", "0.807", "5.11", "1.28"),
            *("1,300", "650", "12.7%", "3.1%", "34.5%", "2.0 ms (1.0 ms – 6.0 ms)"),
            *("too large", "batch", "0.005", "torch", "python", "higher is better"),
        ):
            assert figure in seen, figure
        assert "MACs on host" not in seen
        assert "host, no chip" not in seen

    @pytest.mark.slow
    def test_tells_what_the_task_says_of_each_sample(self, run: TaskRun) -> None:
        finish(run)
        seen = words(written(run))
        assert "5 → 3  ✗" in seen
        assert "Captions: true class → answer" in seen
        simulation = run.read("simulate.json")
        del simulation["captions"]
        run.write("simulate.json", simulation)
        assert "sample 1" in words(written(run))

    @pytest.mark.usefixtures("unpainted")
    def test_firing_rates_are_spikes_per_neuron_and_tick_of_a_sample(
        self, run: TaskRun, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        finish(run)
        drawn: list[dict[str, float]] = []

        def keep(rates: dict[str, float]) -> Html:
            drawn.append(rates)
            return Html("")

        monkeypatch.setattr(pictures, "draw_rates", keep)
        written(run)
        spikes = {name: len(e.tick) for name, e in activity().spikes.items()}
        (rates,) = drawn
        assert rates == {
            "input": spikes["input"] / (4 * 8 * 784),
            "alif1": spikes["alif1"] / (4 * 8 * 130),
        }
        assert rates["alif1"] == pytest.approx(0.1, rel=0.05)

    @pytest.mark.slow
    def test_needs_nothing_outside_itself(self, page: str) -> None:
        links = re.findall(r'(?:src|href)\s*=\s*["\']([^"\']*)', page)
        assert links
        assert all(link.startswith(("#", "data:")) for link in links)
        assert not re.search(r"@import|url\((?!#)|<script|<link", page)
        assert len(page.encode()) < 3_000_000

    @pytest.mark.slow
    def test_has_balanced_tags_and_no_reference_twice(self, page: str) -> None:
        parser = Balance()
        parser.feed(page)
        parser.close()
        assert parser.open == []
        ids = re.findall(r'\bid="([^"]*)"', page)
        assert len(ids) == len(set(ids))

    @pytest.mark.slow
    def test_shows_the_whole_configuration(self, page: str) -> None:
        seen = words(page)
        for key, value in asdict(tiny()).items():
            assert key in seen
            assert str(value) in seen

    def test_spells_out_a_path_that_is_no_utf_8(self) -> None:
        assert html.paragraph(os.fsdecode(b"r\xff<\xc2\xb5")) == r"<p>r\udcff&lt;µ</p>"

    @pytest.mark.slow
    def test_writes_out_control_and_format_characters_everywhere(self, run: TaskRun) -> None:
        odd, shown = "py.\u202efdp\u2066", r"py.\u202efdp\u2066"
        finish(run, layer=odd)
        run.write("environment.json", {"system": f"\x1b[2J{odd}", "packages": {odd: "\x85"}})
        page = written(replace(run, name=odd))
        assert not set("\u202e\u2066\x1b\x85") & set(page)
        assert page.count(shown) > 15
        assert rf"\x1b[2J{shown}" in page

    @pytest.mark.slow
    def test_escapes_hostile_names(self, run: TaskRun) -> None:
        finish(run, layer=HOSTILE)
        run.write("environment.json", {"system": HOSTILE, "packages": {HOSTILE: "1"}})
        named = replace(run, name=HOSTILE)
        page = written(named)
        assert "<script" not in page
        parser = Balance()
        parser.feed(page)
        assert parser.open == []
        assert words(page).count(HOSTILE) > 10

    @pytest.mark.usefixtures("unpainted")
    def test_keeps_the_old_page_when_it_cannot_be_drawn(self, run: TaskRun) -> None:
        finish(run)
        before = written(run)
        record = run.folder / "records" / "events.safetensors"
        record.write_bytes(record.read_bytes()[:100])
        with pytest.raises(StoreError, match=r"events\.safetensors: damaged or cut short"):
            write_report(run)
        assert (run.folder / "report.html").read_text() == before
        assert not list(run.folder.glob("*.tmp"))

    @pytest.mark.slow
    def test_draws_the_same_page_again_and_leaves_the_results_alone(self, run: TaskRun) -> None:
        finish(run)
        before = {p: p.read_bytes() for p in run.folder.rglob("*.*")}
        page = written(run)
        assert {p: p.read_bytes() for p in before} == before
        assert written(run) == page


def measure_contrast(one: np.ndarray, other: np.ndarray) -> float:
    """Return the ratio of the luminances of two colours, red, green and blue of 255."""
    parts = [np.asarray(c) / 255 for c in (one, other)]
    linear = [np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) for c in parts]
    low, high = sorted(float(c @ [0.2126, 0.7152, 0.0722]) for c in linear)
    return (high + 0.05) / (low + 0.05)


class TestLayout:
    @pytest.mark.slow
    def test_every_picture_is_an_image_with_a_title_of_its_own(self, page: str) -> None:
        opened = re.findall(r"<svg ([^>]*)>\s*<title>([^<]+)</title>", page)
        assert len(opened) == page.count("<svg") == 6
        assert all('role="img"' in attributes for attributes, _ in opened)
        assert len({title for _, title in opened}) == 6

    @pytest.mark.slow
    def test_a_picture_shrinks_to_what_can_be_read_and_no_further(self, page: str) -> None:
        assert "max-width: none" not in page
        assert "svg { display: block; height: auto; max-width: 100%; }" in page
        sizes = re.findall(r'style="min-width:(\d+)px"[^>]* width="([\d.]+)pt"', page)
        assert len(sizes) == 6
        for least, points in sizes:
            assert int(least) == pytest.approx(0.7 * float(points) * 96 / 72, abs=0.6)

    @pytest.mark.slow
    def test_what_scrolls_is_shaded_at_its_ends(self, page: str) -> None:
        (style,) = re.findall(r"\.wide \{([^}]*)\}", page)
        assert "overflow-x: auto" in style
        # Covers move with what is scrolled, the shades behind them stay.
        assert "background-attachment: local, local, scroll, scroll" in style
        assert style.count("linear-gradient") == 4

    @pytest.mark.slow
    @pytest.mark.parametrize("mode", ["light", "dark"])
    def test_what_stands_on_a_shade_can_be_read(self, page: str, mode: str) -> None:
        """By the contrast of the Web Content Accessibility Guidelines, 2.1."""
        light, dark = re.findall(r":root \{(.*?)\}", page, re.DOTALL)
        colors = dict(re.findall(r"--(\w+): #(\w+);", light if mode == "light" else dark))
        ink, muted, paper, shade = (
            np.array(list(bytes.fromhex(colors[k]))) for k in ("ink", "muted", "paper", "shade")
        )
        share = shade[3] / 255
        ground = share * shade[:3] + (1 - share) * paper
        assert measure_contrast(ground, paper) > 1.1  # it is seen
        assert measure_contrast(ink, ground) > 7
        assert measure_contrast(muted, ground) > 3

    def test_the_axes_of_a_confusion_matrix_have_names(self) -> None:
        made = html.matrix(["cat", "dog"], [[5, 1], [0, 7]])
        cells = [
            re.findall(r"<t[hd][^>]*>([^<]*)", row)
            for row in re.findall(r"<tr>(.*?)</tr>", made)
        ]
        assert cells == [
            ["", "answer →"],
            ["", "cat", "dog"],
            ["true class →", "cat", "5", "1"],
            ["dog", "·", "7"],
        ]
        assert '<th class="down" scope="rowgroup" rowspan="2">' in made
        assert '<th class="across" scope="colgroup" colspan="2">' in made

    @pytest.mark.slow
    @pytest.mark.usefixtures("unpainted")
    def test_no_column_is_of_zeros(self, run: TaskRun) -> None:
        finish(run)
        simulation = run.read("simulate.json")
        connection = {"spikes": 0.0, "synaptic_events": 41416.4, "updates": 0.0}
        simulation["per_sample"] = {"conv1": connection, **simulation["per_sample"]}
        run.write("simulate.json", simulation)
        cells = re.findall(r"<td[^>]*>([^<]*)</td>", written(run))
        row = cells.index("conv1")
        assert cells[row : row + 5] == ["conv1", "", "", "41,416.4", ""]
        assert "An empty cell is 0." in words(written(run))
        assert "0.0%" not in cells
        assert "in axons used" not in words(written(run))

    @pytest.mark.slow
    def test_no_tile_sets_arithmetic_beside_a_chip(self, page: str) -> None:
        tiles = dict(re.findall(r"<dt>([^<]*)</dt><dd>([^<]*)</dd>", page))
        joules = {label for label, value in tiles.items() if value.endswith("J")}
        assert joules == {"energy, loihi1 chip", "energy, loihi2 chip"}
        assert tiles["arithmetic, spiking : ANN"] == "0.43×"
        assert "176 nJ : 409 nJ (one pass) by the 45 nm convention, arithmetic only" in words(
            page
        )

    @pytest.mark.usefixtures("unpainted")
    def test_minor_tiles_come_last_and_those_behind_the_sixth_are_folded(self) -> None:
        figures = [html.KeyFigure(f"f{k}", "1", "", minor=k in (0, 2)) for k in range(8)]
        six, folded = html.tiles(figures).split("<details>")
        assert re.findall(r"<dt>(.*?)</dt>", six) == ["f1", "f3", "f4", "f5", "f6", "f7"]
        assert folded.startswith("<summary>2 more</summary>")
        assert re.findall(r"<dt>(.*?)</dt>", folded) == ["f0", "f2"]
        assert "details" not in html.tiles(figures[:6])

    def test_a_column_of_words_is_left_aligned_though_it_begins_with_digits(self) -> None:
        table = html.table(["", "words", "n"], [["question", "8 7 11", "4"]])
        assert '<td class="word">8 7 11</td><td class="num">4</td>' in table

    def test_a_network_whose_twin_computes_nothing_has_no_ratio(self, run: TaskRun) -> None:
        finish(run)
        joules = run.read("energy.json")
        joules["conventional45nm"]["ann"] = 0.0
        run.write("energy.json", joules)
        tiles = dict(re.findall(r"<dt>([^<]*)</dt><dd>([^<]*)</dd>", written(run)))
        assert tiles["arithmetic, spiking : ANN"] == "–"


def make_picture(kind: str, width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).save(file, kind)
    return file.getvalue()


class TestPictures:
    def test_a_photo_is_a_png_or_gif_that_can_be_decoded(self) -> None:
        for kind in ("PNG", "GIF"):
            whole = make_picture(kind, 256, 255)
            assert html.is_photo(whole)
            assert html.is_photo(whole + b"<script>")  # behind its end, which nobody reads
            assert not html.is_photo(whole[: len(whole) // 2])
        for other in (b"", b"<html>", b"\x89PNG", b"GIF89a", make_picture("BMP", 4, 3)):
            assert not html.is_photo(other)

    def test_a_photo_has_a_bounded_number_of_pixels(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert not html.is_photo(make_picture("PNG", 2**13 + 1, 2**13))
        monkeypatch.setattr(html, "MOST_PIXELS", 12)
        assert html.is_photo(make_picture("PNG", 4, 3))
        assert not html.is_photo(make_picture("PNG", 13, 1))

    def test_a_silent_run_can_be_drawn(self, tmp_path: Path) -> None:
        nothing = to_events(np.zeros((3, 2, 5), np.float32))
        record = Record(executor="events", ticks=3, samples=2, spikes={"x": nothing}, values={})
        file = tmp_path / "activity.png"
        assert "<svg" in pictures.draw_activity(record, {"x": (5,)}, ["a", "b"], file)
        assert file.read_bytes().startswith(b"\x89PNG")
        assert "0.000" not in pictures.draw_rates({"x": 0.0})
        assert "0 pJ" in pictures.draw_energies([pictures.Bar("chip", "core", 0.0, 0.0, 0.0)])

    def test_drawing_changes_no_setting_of_matplotlib(self) -> None:
        before = dict(mpl.rcParams)
        pictures.draw_rates({"x": 0.5})
        assert dict(mpl.rcParams) == before


class TestHostNodes:
    """What no chip runs is called host wherever counts and joules are told."""

    @pytest.mark.slow
    def test_the_page_names_them(self, run: TaskRun) -> None:
        finish(run)
        simulation, joules = run.read("simulate.json"), run.read("energy.json")
        counts = {"spikes": 0.0, "synaptic_events": 0.0, "updates": 0.0, "macs": 1230.0}
        for node in simulation["per_sample"].values():
            node["macs"] = 0.0
        simulation["per_sample"]["lift"] = counts
        norms = [{"node": f"norm{k}", "macs": 500 * k, "kind": "RMSNorm"} for k in (1, 3)]
        lift = {"node": "lift", "macs": 1230, "kind": "Outer"}
        joules["host"] = [norms[0], lift, norms[1], {"node": "soft", "macs": 4000}]
        joules["conventional45nm"] |= {"host": 2.4e-8, "snn": 3.2e-8}
        first, *others = joules["loihi1"]["layers"].values()
        first["synaptic_events"] = 3770.0
        for layer in others:
            layer["synaptic_events"] = 0.0
        run.write("simulate.json", simulation)
        run.write("energy.json", joules)
        seen = words(written(run))
        for part in (
            *("lift (host)", "MACs on host", "1,230.0"),
            *("host, no chip", "lift", "1,230 MACs", "of it on a host, MAC", "24 nJ, 75%"),
            *("RMSNorm, 2 nodes", "2,000 MACs", "share of all operations", "65.7%"),
            "host: RMSNorm, 2 nodes; lift; soft run on a host, 7,230 MACs per inference (an "
            "exponential counts as one); only the 45 nm convention includes their energy, no "
            "tier of a chip does",
            "; 65.7% of its operations, and 75% of its energy by the 45 nm convention, stay on",
        ):
            assert part in seen, part

    def test_the_terminal_tells_the_same(self) -> None:
        nodes = {
            "x": {"spikes": 2.0, "synaptic_events": 0.0, "updates": 0.0, "macs": 0.0},
            "soft": {"spikes": 0.0, "synaptic_events": 0.0, "updates": 0.0, "macs": 12.0},
        }
        head, rows = show.list_counts_per_sample({"per_sample": nodes})
        assert head == ["node", "spikes", "synaptic events", "updates", "MACs on host"]
        assert rows == [["x", "2.0", "", "", ""], ["soft (host)", "", "", "", "12.0"]]


class TestARunThatAnswersNothing:
    def test_shows_figures_with_what_they_depend_on_tables_and_pictures(
        self, tmp_path: Path
    ) -> None:
        config = find_task("image_generation").configs["tiny"]()
        run = replace(make_run("image_generation:tiny", tmp_path), config=config)
        begin_run(run)
        image = make_picture("PNG", 4, 3)
        (run.folder / "new.png").write_bytes(image)
        table = {"title": "New", "head": ["digit", "n"], "rows": [["one", 1234]]}
        run.write(
            "eval.json",
            {
                "fad": 12.3456,
                "n": 40,
                "split": "test",
                "notes": {"fad": "5,120 new images, own autoencoder"},
                "tables": [
                    {**table, "caption": "Counted."},
                    {**table, "title": "First", "caption": "Above.", "example": True},
                ],
                "pictures": [{"file": "new.png", "title": "New", "caption": "All of them."}],
            },
        )
        text = written(run)
        assert "12.35" in text
        assert "lower is better" in text
        assert "5,120 new images, own autoencoder" in text
        assert f'src="data:image/png;base64,{b64encode(image).decode()}"' in text
        assert "All of them." in text
        assert "1,234" in text
        assert text.count("<h3>New</h3>") == 1  # of the table and of the picture
        assert text.index("1,234", text.index("<h3>New")) < text.index("Counted.")
        assert text.index("<h3>First") < text.index("Above.") < text.index("1,234")
        assert "confusion" not in words(text).lower()
        metrics = find_task("image_generation").evaluation.metrics
        told = show.describe_evaluation(run.read("eval.json"), metrics)
        assert told == "FAD 12.35 (5,120 new images, own autoencoder); 40 test samples"

    def test_images_that_the_model_makes_are_of_no_split(self) -> None:
        made = {"n": 1000, "split": None, "counted": "new images"}
        assert show.count_samples(made) == "1,000 new images"
        assert show.describe_evaluation(made, ()).endswith("; 1,000 new images")

    @pytest.mark.slow
    def test_every_input_has_its_own_picture(self, tmp_path: Path) -> None:
        record = activity()
        spikes = {**record.spikes, "speed": record.spikes["alif1"]}
        both = replace(record, spikes=spikes)
        shapes = {"input": (1, 28, 28), "speed": (10, 13)}
        file = tmp_path / "activity.png"
        drawn = pictures.draw_activity(both, shapes, ["sample 3"], file)
        assert "sample 3" in drawn
        assert drawn.count("stimulus") == 2
        flat = pictures.draw_activity(both, {**shapes, "speed": (130,)}, ["sample 3"], file)
        # A line of 130 pixels shows nothing: its raster does.
        assert flat.count("stimulus") == 1
        assert flat.count("neuron") == drawn.count("neuron") == len(spikes)
