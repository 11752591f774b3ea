"""``neuro bottleneck`` from a trained run to a narrow one that every verb takes."""

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from blank_pictures import leave_blank
from command_line import CommandLine
from narrow_cases import narrow, small

from neuro.energy import CutError, find_chip
from neuro.io.run_folder import Run, RunError
from tasks.bottlenecks import narrowing, task
from tasks.bottlenecks.bottleneck import (
    NarrowWords,
    describe_narrowing,
    describe_result,
    list_links,
    narrow_run,
    read_links,
)
from tasks.bottlenecks.config import BottleneckConfig, BoundaryConfig, count_channels
from tasks.bottlenecks.curve import tabulate_cuts
from tasks.bottlenecks.teaching import load_run_model
from tasks.cli import main
from tasks.runs.find import make_run, name_train_command, open_folder
from tasks.runs.provenance import describe_trained

SMALL = (
    *("train=40", "held=20", "test=20", "batch=20", "epochs=1", "compared=4", "ticks=2"),
    *("code=rate", "channels=[6, 12]", "blocks=[1, 1]"),
)


def train(folder: Path, *settings: str) -> Path:
    words = [w for setting in (*SMALL, *settings) for w in ("--set", setting)]
    main(["train", "bottlenecks:tiny", "--out", str(folder), *words])
    return folder


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("runs") / "original")


@pytest.fixture(scope="module")
def result(original: Path) -> dict[str, Any]:
    """Return what the verb found, with a width by gates and one that is given."""
    words = NarrowWords(out=original.with_name("narrow"), chips=2, widths=("1/2", "learned"))
    with leave_blank():
        return narrow_run(open_folder(original), words)


def test_the_verb_says_why_the_chip_cannot_run_the_original(tmp_path: Path) -> None:
    found = {}
    for code in ("rate", "direct"):  # Loihi 1 takes no pixels as graded spikes
        settings = [x if x != "code=rate" else f"code={code}" for x in SMALL]
        words = [w for x in settings for w in ("--set", x)]
        main(["train", "bottlenecks:tiny", "--out", str(tmp_path / code), *words])
        asked = NarrowWords(out=tmp_path / f"{code}-1", chips=2, chip="loihi1", links=("8bit",))
        with leave_blank():
            found[code] = narrow_run(open_folder(tmp_path / code), asked)
    assert "misfits" not in found["rate"]
    (reason,) = found["direct"]["misfits"]
    assert "spikes that have values, those of Loihi 1 have none" in reason
    said = describe_narrowing(found["direct"], tmp_path)
    assert f"loihi1 cannot run the original: {reason}" in said


class TestResult:
    def test_tells_the_cut_and_what_crosses_it_in_full(self, result: dict[str, Any]) -> None:
        assert [name for part in result["chips"] for name in part] == [
            *("cells", "block1_sum_body_cells1", "block1_cells"),
            *("block2_sum_body_cells1", "block2_cells", "readout"),
        ]
        (crossing,) = result["original"]
        assert result["n"] == 20
        block = result["after"][0]
        assert crossing["source"] == (f"block{block}_cells" if block else "cells")
        assert crossing["bits"] == 2 * crossing["neurons"]

    def test_has_a_point_for_each_width(self, result: dict[str, Any]) -> None:
        closed = [p for p in result["points"] if p["how"] == "pca"]
        channels = closed[0]["cuts"][0]["channels"]
        assert [p["cuts"][0]["width"] for p in closed] == [
            channels >> k
            for k in range(channels.bit_length())  # halved until one is left
        ]
        for point in result["points"]:
            (cut,) = point["cuts"]
            neurons = result["original"][0]["neurons"] // channels * cut["width"]
            assert point["bits"] == cut["bits"] == 2 * neurons
            assert 0 <= cut["spikes"] <= cut["bits"]
            assert cut["aer_bits"] == pytest.approx(cut["spikes"] * (neurons - 1).bit_length())
            assert point["n"] == 20

    def test_is_written_and_drawn(self, original: Path, result: dict[str, Any]) -> None:
        out = original.with_name("narrow")
        assert json.loads((out / "bottleneck.json").read_text()) == json.loads(
            json.dumps(result)
        )
        for point in result["points"]:
            folder = Path(point["folder"] or original)
            assert (folder / "bottleneck.json").read_bytes() == (
                out / "bottleneck.json"
            ).read_bytes()
        assert (out / "bottleneck.png").exists()

    def test_learned_widths_are_a_run_of_their_own(self, result: dict[str, Any]) -> None:
        (learned,) = (p for p in result["points"] if p["folder"].endswith("learned"))
        config = open_folder(Path(learned["folder"])).config
        assert not config.narrow.gated
        assert config.narrow.gates == f"{Path(learned['folder']).resolve()}-gates"
        assert open_folder(Path(config.narrow.gates)).config.narrow.gated


class TestRun:
    @pytest.mark.slow
    def test_every_verb_takes_it(self, result: dict[str, Any], cli: CommandLine) -> None:
        folder = Path(next(p["folder"] for p in result["points"] if p["folder"][-3:] == "1_2"))
        for verb in ("eval", "verify", "export", "energy"):
            cli.run(verb, folder)
        verify = json.loads((folder / "verify.json").read_text())
        assert verify["torch_events"]["mismatches"] == 0
        layers = verify["torch_events"]["layers"]
        link = next(name for name in layers if name.endswith("_link"))
        assert layers[link]["spikes"] > 0
        with leave_blank():
            cli.run("report", folder)
        page = (folder / "report.html").read_text()
        assert "what crosses from chip to chip, a validation sample (loihi2)" in page
        assert page.index("Narrowed, it sends") < page.index("<img", page.index("Narrowed, it"))
        assert page.index("Star and line: the original") < page.index("On the chip")
        assert "other weights" not in page
        found = json.loads((folder / "eval.json").read_text())
        accuracy = found["accuracy"]
        assert found["beside"]["the original, not narrowed"] == {"accuracy": result["accuracy"]}
        block = result["after"][0]
        narrow = 1 + block  # of the rows of the table
        assert found["tables"][0]["rows"][narrow][0].startswith("⇒ narrow layer")
        (point,) = (p for p in result["points"] if p["folder"] == str(folder))
        assert point["accuracy"] == accuracy
        assert "is narrow already; give the run of the original" in cli.refuse(
            "bottleneck", folder
        )

    def test_only_its_link_crosses(self, result: dict[str, Any]) -> None:
        folder = Path(next(p["folder"] for p in result["points"] if p["folder"][-3:] == "1_2"))
        config = open_folder(folder).config
        (crossing,) = narrowing.require_only_links(config, find_chip("loihi2")).crossings
        assert crossing.source == f"narrow{result['after'][0]}_link"

    def test_goes_on_with_its_command(self, result: dict[str, Any], cli: CommandLine) -> None:
        folder = Path(next(p["folder"] for p in result["points"] if p["folder"][-3:] == "1_2"))
        before = (folder / "best.safetensors").read_bytes()
        cli.run(*shlex.split(name_train_command(open_folder(folder)))[1:])
        assert (folder / "best.safetensors").read_bytes() == before


class TestReport:
    def test_of_the_original_shows_its_cuts_or_how_to_get_them(
        self, original: Path, result: dict[str, Any], cli: CommandLine
    ) -> None:
        cli.run("eval", original)
        file = original / "bottleneck.json"
        kept = file.read_text()
        seen = []
        other = {**result, "measured_on": {"weights": "0"}}
        for text in (kept, json.dumps(other), None):
            file.unlink()
            if text is not None:
                file.write_text(text)
            with leave_blank():
                cli.run("report", original)
            seen.append((original / "report.html").read_text())
            file.write_text(kept)
        assert ["behind block" in page or "behind the stem" in page for page in seen] == [
            *(True, True, False)
        ]
        assert ["are of other weights" in page for page in seen] == [False, True, False]
        command = f"neuro bottleneck {shlex.quote(str(original))} --width 1/4"
        assert [command in page for page in seen] == [False, True, True]
        file.write_text(json.dumps({**result, "points": 3}))
        told = " ".join(cli.refuse("report", original).split())
        assert "is not as this version writes it" in told
        file.write_text(kept)

    def test_the_head_compares_a_narrow_run_with_its_original(self, tmp_path: Path) -> None:
        found = {"accuracy": 0.7, "n": 500, "beside": {task.ORIGINAL: {"accuracy": 0.8}}}
        run = Run(folder=tmp_path, task="t", name="n", seed=0, config=narrow("4bit", (1, 3)))
        (told,) = task.tell_narrowing(run, found)
        own, full = task.count_bits(run.config), task.count_bits(narrow("spikes", (1, 4)))
        assert f"sends {own:,} instead of {full:,} bits per sample from chip to chip" in told
        assert f"({own / full:.3g} of them)" in told
        assert "Accuracy 70% (66 to 74%), of the original 80% (76 to 83%)" in told
        assert "on the same samples: -10.00 points" in told
        (tmp_path / "bottleneck.png").write_bytes(b"")
        assert len(task.tell_narrowing(run, found)) == 2
        assert not task.tell_narrowing(run, {**found, "beside": {}})
        assert not task.tell_narrowing(replace(run, config=task.configs.tiny()), found)

    def test_lists_what_each_block_sends(self) -> None:
        assert task.tabulate_blocks(narrow("8bit", (1, 3))).rows == [
            ("stem", "4 x 28 x 28", "6,272"),  # of two ticks
            ("block 1", "4 x 28 x 28", "6,272"),
            ("⇒ narrow layer to the next chip (8bit)", "3 x 28 x 28", "37,632"),
            ("block 2", "6 x 14 x 14", "2,352"),
        ]
        twin = small(cells="relu", ticks=1, code="direct")
        assert [row[2] for row in task.tabulate_blocks(twin).rows] == [
            *("100,352", "100,352", "37,632")  # 32 bits a value
        ]


class TestRefusals:
    @pytest.mark.parametrize("link", ["float", "8bit", "4bit"])
    def test_values_are_sent_by_no_chip(self, link: str) -> None:
        config: BottleneckConfig = narrow(link, (1, 2))  # type: ignore[arg-type]
        why = task.TASK.deployment.only_torch(config)
        assert f"a link of {link} values has no node in a Graph" in why
        assert why.endswith("narrow the network with --link spikes")
        with pytest.raises(RunError, match=f"a link of {link} values"):
            task.TASK.deployment.part(config, task.build(config))

    def test_a_teacher_whose_weights_have_changed(self, original: Path) -> None:
        run = open_folder(original)
        digest = narrowing.narrow_config(run, (1,), (2,), "float").narrow.teacher_weights
        assert digest == describe_trained(original)["weights"] != ""
        assert load_run_model(str(original), digest) is not None
        with pytest.raises(RunError, match="its weights have changed since a narrow network"):
            load_run_model(str(original), digest[::-1])

    def test_more_chips_than_blocks(self, original: Path, tmp_path: Path) -> None:
        words = NarrowWords(out=tmp_path / "out", chips=9)
        with pytest.raises(CutError, match="chips: 9 are more than the 3 parts"):
            narrow_run(open_folder(original), words)
        assert not (tmp_path / "out").exists()

    def test_of_words(self, original: Path, tmp_path: Path, cli: CommandLine) -> None:
        out = ("--out", tmp_path / "out")
        words = ("bottleneck", original, *out)
        assert "chips: 1 leaves nothing to cut" in cli.refuse(*words, "--chips", "1")
        assert "no link 'spike'; did you mean 'spikes'?" in cli.refuse(
            *words, "--link", "spike"
        )
        assert "'a' is no width" in cli.refuse(*words, "--width", "a")
        assert "no chip 'loihi3'" in cli.refuse(*words, "--chip", "loihi3")
        assert "--set sets a field for the training, and without --width" in cli.refuse(
            *words, "--set", "epochs=3"
        )
        assert "epochs is -1; it must be >= 1" in cli.refuse(
            *words, "--width", "1", "--set", "epochs=-1"
        )
        assert "narrow.soft is 3.0" in cli.refuse(
            *words, "--width", "1", "--set", "narrow.soft=3.0"
        )
        assert not (tmp_path / "out").exists()
        assert read_links("4bit,spikes") == ("4bit", "spikes")
        assert read_links("all") == narrowing.LINKS

    def test_of_a_network_without_blocks(self, tmp_path: Path) -> None:
        run = make_run("mnist:tiny", tmp_path / "run")
        with pytest.raises(RunError, match="only networks of bottlenecks have blocks"):
            narrow_run(run, NarrowWords(out=tmp_path / "out", chips=2))


class TestTwinWithoutSpikes:
    TWIN = small(ticks=1, code="direct", cells="relu")

    def test_is_cut_by_its_shapes(self, tmp_path: Path) -> None:
        graph = narrowing.build_graph(self.TWIN)
        cuts = narrowing.choose_boundaries(graph, None, self.TWIN, find_chip("loihi2"), 2)
        (crossing,) = cuts.partition.crossings
        assert crossing.spikes is None
        assert cuts.partition.bits == 32 * crossing.neurons
        (after,) = cuts.after
        config = replace(
            self.TWIN,
            narrow=BoundaryConfig(
                after=cuts.after, widths=(count_channels(self.TWIN, after),), link="4bit"
            ),
        )
        (figures,) = narrowing.describe_cuts(config)
        assert figures.bits == 4 * crossing.neurons
        run = replace(make_run("bottlenecks:tiny", tmp_path / "run"), config=self.TWIN)
        words = NarrowWords(out=tmp_path, chips=2)
        told = describe_result(run, cuts, (), words)
        assert [c["bits"] for c in told["original"]] == [32 * crossing.neurons]
        cells = [[*column.cells] for column in tabulate_cuts(told).columns]
        bits = (f"{k * crossing.neurons:,}" for k in (1, 32))
        assert cells == [[text] for text in (crossing.source, "0 to 1", *bits, "")]
        point = narrowing.measure_point(config, task.build(config).eval(), "pca")
        assert (point.bits, point.n) == (figures.bits, 20)

    def test_has_no_graph(self) -> None:
        assert "has no Graph" in task.TASK.deployment.only_torch(self.TWIN)
        with pytest.raises(RunError, match="has no Graph; use a run of bottlenecks:tiny"):
            task.TASK.deployment.part(self.TWIN, task.build(self.TWIN))

    def test_sends_no_spikes(self) -> None:
        with pytest.raises(RunError, match="the twin without spikes sends none"):
            list_links(self.TWIN, ("spikes",))
        assert list_links(self.TWIN, narrowing.LINKS) == ["float", "8bit", "4bit"]
