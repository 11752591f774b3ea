"""A network from elsewhere as a run: made whole and proved equal, or not at all."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command_line import CommandLine
from imported_networks import draw_stimulus, graph, silent, write_networks

from neuro.events import simulate
from neuro.io.graph_file import load_graph, save_graph
from neuro.io.store import StoreError
from neuro.spikes import to_events, to_raster
from tasks.cli import main
from tasks.imported import import_network
from tasks.imported.files import read_facts
from tasks.imported.sections import state_equality
from tasks.imported.stimulus import load_stimulus
from tasks.runs.find import open_folder
from tasks.runs.provenance import describe_trained, list_out_of_date

VERBS = ("eval", "simulate", "verify", "energy", "export", "report")


@pytest.fixture(scope="module", autouse=True)
def few_ticks() -> Iterator[None]:
    """Compare with the source in few ticks: types are checked in each of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_network, "TICKS", 12)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with nets.py, a stimulus with labels, and two runs: with and without."""
    here = tmp_path_factory.mktemp("elsewhere")
    nets = write_networks(here)
    x, y = draw_stimulus()
    np.savez(here / "data.npz", x=x, labels=y)
    data = ["--stimulus", str(here / "data.npz")]
    main(["import", f"{nets}:make", "--out", str(here / "labelled"), *data])
    numbers = ["--ticks", "9", "--samples", "5", "--rate", "0.3", "--seed", "4"]
    main(["import", f"{nets}:make", "--out", str(here / "drawn"), *numbers])
    return here


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    """Return a copy of that folder, to spoil."""
    shutil.copytree(folder, tmp_path / "copy")
    return tmp_path / "copy"


def read(path: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(path.read_text())
    return found


@pytest.mark.slow
def test_every_verb_takes_a_run_that_was_moved_and_whose_source_is_gone(
    copied: Path, monkeypatch: pytest.MonkeyPatch, cli: CommandLine
) -> None:
    (copied / "nets.py").unlink()
    (copied / "data.npz").unlink()
    run = (copied / "labelled").rename(copied / "elsewhere")
    before = (run / "graph.safetensors").read_bytes()
    for verb in VERBS:
        with monkeypatch.context() as patch:
            if verb == "export":  # of the two verbs that run Lava one is enough
                patch.setenv("NEURO_LAVA_PYTHON", "no-such-python")
            cli.run(verb, run)
    assert (run / "graph.safetensors").read_bytes() == before
    x, y = draw_stimulus()
    record, _ = simulate(graph(), {"x": to_events(x)})
    answers = to_raster(record.spikes["out"]).sum(0).argmax(1)
    accuracy = float((answers == y).mean())
    assert read(run / "eval.json")["accuracy"] == accuracy
    verify = json.loads((run / "verify.json").read_text())
    assert verify["metrics"]["accuracy"]["events"] == accuracy
    assert verify["torch_events"]["mismatches"] == 0
    assert verify["reference_lava"].get("mismatches", 0) == 0
    assert not list_out_of_date(run, describe_trained(run))
    page = (run / "report.html").read_text()
    assert "imported from nets.py:make, some library 1.2" in page
    for told in ("Neuron(beta=0.75)", "hard, of the next tick", "Confusion matrix", "data.npz"):
        assert told in page
    assert "not measured yet" not in page
    assert "Training" not in page


@pytest.mark.slow
def test_the_run_says_what_it_is_and_names_no_place(folder: Path) -> None:
    run = folder / "labelled"
    facts = json.loads((run / "import.json").read_text())
    assert facts["source"]["name"] == "nets.py"
    assert facts["source"]["function"] == "make"
    assert facts["stimulus"] == {"file": "data.npz", "ticks": 12, "samples": 10, "labels": True}
    rows = facts["verification"]["rows"]
    assert {row["stimulus"] for row in rows} >= {"data.npz, first samples"}
    assert all(row["different"] == 0 for row in rows)
    assert sum(row["spikes"] for row in rows) > 500
    read, most = read_facts(run), sum(row["spikes"] for row in rows)
    told = " Compared with its source at every tick, {} of {:,} spikes differ."
    assert state_equality(read) == told.format("0", most)
    rows = [{**row, "different": 1200 * (k < 2)} for k, row in enumerate(rows)]
    read["verification"]["rows"] = rows
    assert state_equality(read) == told.format("2,400", most)
    read["verification"]["rows"] = []
    assert state_equality(read) == ""
    for file in run.iterdir():
        assert str(folder).encode() not in file.read_bytes()


@pytest.mark.slow
def test_an_import_prints_the_mapping_the_choices_and_the_comparison(
    folder: Path, tmp_path: Path, cli: CommandLine
) -> None:
    out = cli.run("import", f"{folder / 'nets.py'}:make", "--out", tmp_path / "run")
    for told in (
        "nets.py:make (some library 1.2)",
        "DiscreteLIF(decay=0.75)",
        "reset: hard, of the next tick",
        "0 different",
        "the stimulus is random, no data: each value is a spike with probability 0.1 in each "
        "of 100 ticks, 16 samples, seed 0",
        f"wrote {tmp_path / 'run'}; next: neuro verify {tmp_path / 'run'}",
    ):
        assert told in out


@pytest.mark.slow
def test_a_random_stimulus_is_told_by_every_verb_and_gives_rates(
    folder: Path, cli: CommandLine
) -> None:
    run = folder / "drawn"
    out = cli.run("eval", run)
    assert "the stimulus is random, no data: each value is a spike with probability 0.3" in out
    assert "9 ticks, 5 samples, seed 4" in out
    found = json.loads((run / "eval.json").read_text())
    x = np.random.default_rng(4).random((9, 5, 6)) < 0.3
    record, _ = simulate(graph(), {"x": to_events(x)})
    spikes = {name: len(record.spikes[name].tick) for name in ("hidden", "out")}
    assert found["firing_rate"] == sum(spikes.values()) / (11 * 9 * 5)
    assert "accuracy" not in found
    rows = found["tables"][0]["rows"]
    assert [row[:3] for row in rows] == [
        ["hidden", 8, spikes["hidden"] / 5],
        ["out", 3, spikes["out"] / 5],
    ]
    assert [row[4] for row in rows] == pytest.approx([1000 * row[3] for row in rows])
    cli.run("report", run)
    assert "the stimulus is random, no data" in (run / "report.html").read_text()


@pytest.mark.slow
def test_a_network_that_differs_from_its_source_is_not_written(
    folder: Path, tmp_path: Path, cli: CommandLine
) -> None:
    text = cli.refuse("import", f"{folder / 'nets.py'}:wrong", "--out", tmp_path / "run")
    assert "population stimulus spikes different largest error" in text
    assert (
        "nets.py: the network differs from its source in some library 1.2, first in hidden "
        "under " in text
    )
    assert " spikes differ (of " in text
    assert "Nothing was written. This is a fault of the import: please report it" in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_population_that_never_fired_is_named(
    folder: Path, tmp_path: Path, cli: CommandLine
) -> None:
    assert silent().graph.firing == ("hidden", "out")
    nets, run = folder / "nets.py", tmp_path / "run"
    out = cli.run("import", f"{nets}:silent", "--out", run)
    assert "values from 0 to 4; values from 0 to 16; values from 0 to 64; 4 samples" in out
    assert "hidden, out fired under no stimulus: only what happens below the threshold" in out
    cli.run("report", run)
    assert "hidden, out fired under no stimulus" in (run / "report.html").read_text()
    out = cli.run("import", f"{nets}:dull", "--out", tmp_path / "dull")
    assert "values from 0 to 16; 4 samples" in out
    assert "fired under no stimulus" not in out


@pytest.mark.slow
def test_a_source_of_one_image_and_a_length_of_its_own_is_driven_as_it_is_made(
    folder: Path, tmp_path: Path, cli: CommandLine
) -> None:
    argv = ("import", f"{folder / 'nets.py'}:shown", "--out", tmp_path / "run")
    out = cli.run(*argv)
    assert "a spike with probability 0.1 in all of 7 ticks" in out
    with np.load(tmp_path / "run" / "stimulus.npz") as file:
        assert file["x"].shape == (1, 16, 6)  # the same in all ticks
        assert file["(ticks)"] == 7
        assert 0 < file["x"].mean() < 0.3
    shutil.rmtree(tmp_path / "run")
    text = cli.refuse(*argv, "--stimulus", folder / "data.npz")
    assert "data.npz: has 12 ticks, and the source always runs 7; give as many" in text
    assert "x: changes from tick to tick, and the source shows one image in all" in text
    assert "np.repeat(images[None], 7, 0) does" in text
    assert "the source always runs 7" in cli.refuse(*argv, "--ticks", "8")


STATIC = """
import snntorch, torch

class Shown(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.lif = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 4)), snntorch.Leaky(0.5)

    def forward(self, x):
        mem, out = self.lif.reset_mem(), []
        for _ in range(5):
            spikes, mem = self.lif(self.conv(x).flatten(1), mem)
            out.append(spikes)
        return torch.stack(out)

def normed():
    net = Shown()
    net.conv.append(torch.nn.LayerNorm(1))
    return net
"""


@pytest.mark.slow
def test_images_without_an_axis_of_ticks_are_known_by_their_shape(
    tmp_path: Path, cli: CommandLine
) -> None:
    pytest.importorskip("snntorch")
    (tmp_path / "net.py").write_text(STATIC)
    images = np.random.default_rng(0).random((3, 1, 4, 4))
    np.savez(tmp_path / "data.npz", x=images, labels=[2, 0, 1])
    flags = ("--stimulus", tmp_path / "data.npz", "--out", tmp_path / "run")
    out = cli.run("import", f"{tmp_path / 'net.py'}:Shown", *flags)
    assert "images: no axis of ticks: each is shown in all 5 ticks" in out
    assert load_stimulus(tmp_path / "run" / "stimulus.npz").inputs["input"].shape[:2] == (5, 3)
    text = cli.refuse("import", f"{tmp_path / 'net.py'}:normed", *flags[:2])
    assert "layer_norm() has no node in a Graph (its scale depends" in text


@pytest.mark.slow
def test_lines_of_code_are_named_without_the_place_of_the_file(
    folder: Path, tmp_path: Path, cli: CommandLine
) -> None:
    cli.run("import", f"{folder / 'nets.py'}:placed", "--out", tmp_path / "run")
    facts = json.loads((tmp_path / "run" / "import.json").read_text())
    assert facts["mapping"][0]["source"] == "linear at nets.py:7"


@pytest.mark.slow
def test_what_is_there_is_not_overwritten(folder: Path, cli: CommandLine) -> None:
    before = (folder / "drawn" / "config.json").read_bytes()
    text = cli.refuse("import", f"{folder / 'nets.py'}:make", "--out", folder / "drawn")
    assert f"{folder / 'drawn'} exists; choose another --out, or delete it" in text
    assert (folder / "drawn" / "config.json").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("file", ["graph.safetensors", "stimulus.npz", "import.json"])
def test_a_file_that_changed_is_refused_by_every_verb(
    copied: Path, file: str, cli: CommandLine
) -> None:
    path = copied / "drawn" / file
    path.write_bytes(path.read_bytes() + b" ")
    for verb in ("eval", "report"):
        assert f"{path}: has changed since the import; put the file of SHA-256" in cli.refuse(
            verb, copied / "drawn"
        )
    path.unlink()
    assert f"{path}: is gone" in cli.refuse("verify", copied / "drawn")


@pytest.mark.slow
def test_a_configuration_of_an_earlier_version_is_refused(
    copied: Path, cli: CommandLine
) -> None:
    path = copied / "drawn" / "config.json"
    header = json.loads(path.read_text())
    del header["config"]["decoding"]
    path.write_text(json.dumps(header))
    text = cli.refuse("eval", copied / "drawn")
    assert f"{path}: " in text
    assert "decoding: is missing; restore it from a copy, or import again" in text


@pytest.mark.slow
def test_an_edited_configuration_is_refused(copied: Path, cli: CommandLine) -> None:
    path = copied / "drawn" / "config.json"
    path.write_text(path.read_text().replace("some library 1.2", "some library 1.3"))
    assert "library is some library 1.3" in cli.refuse("eval", copied / "drawn")


@pytest.mark.slow
def test_it_is_not_trained_and_says_how_to_go_on(folder: Path, cli: CommandLine) -> None:
    run = folder / "drawn"
    text = cli.refuse("train", run)
    assert f"{run}: an imported network is not trained here" in text
    assert str(run / "graph.safetensors") in text
    assert "neuro import SOURCE --out RUN makes one" in cli.refuse("train", "imported:drawn")
    assert "imported" not in cli.run("tasks")
    assert "give a run of language" in cli.refuse("pack", run)


@pytest.mark.slow
def test_runs_compare_under_the_names_of_their_folders(
    folder: Path, tmp_path: Path, cli: CommandLine
) -> None:
    for run in ("labelled", "drawn"):
        cli.run("eval", folder / run)
    out = cli.run(
        "compare", folder / "labelled", folder / "drawn", "--out", tmp_path / "compared"
    )
    assert "imported:labelled" in out
    assert "imported:drawn: of other test data" in out
    changes = [
        open_folder(folder / run).definition.training.seed_changes
        for run in ("labelled", "drawn")
    ]
    assert changes == ["", "the random spikes of the stimulus"]


@pytest.mark.slow
def test_a_graph_in_a_file_and_one_by_its_name_are_sources(
    folder: Path, tmp_path: Path, cli: CommandLine
) -> None:
    save_graph(tmp_path / "net.safetensors", graph())
    for source, out in (
        (tmp_path / "net.safetensors", tmp_path / "one"),
        (f"{folder / 'nets.py'}:GRAPH", tmp_path / "other"),
    ):
        text = cli.run("import", source, "--out", out)
        assert "not compared, there is no other library to compare with" in text
        assert open_folder(out).definition.summary.startswith("imported from ne")
    one, other = (
        load_graph(tmp_path / name / "graph.safetensors") for name in ("one", "other")
    )
    assert one.edges == other.edges


@pytest.mark.slow
def test_a_stack_is_compared_by_its_output(
    folder: Path, tmp_path: Path, cli: CommandLine
) -> None:
    argv = ("import", f"{folder / 'nets.py'}:stack", "--out", tmp_path / "run")
    assert "give --shape, of one tick of one sample" in cli.refuse(*argv)
    out = cli.run(*argv, "--shape", "6")
    assert "the source does not show spikes: compared only by what follows" in out
    assert "fired under no stimulus" not in out  # nobody looked
    out = cli.run("eval", tmp_path / "run")
    assert "firing rate" in out
    tables = json.loads((tmp_path / "run" / "eval.json").read_text())["tables"]
    assert [table["title"] for table in tables] == ["Firing rates", "Read-outs"]


SOURCES = {
    "model.pt": "model.pt is not a .nir file, a .net file of lava-dl, a .safetensors file of a "
    "Graph, or file.py:function: a checkpoint holds weights without the network",
    "gone.nir": "gone.nir: no such file",
    "nets.py": "nets.py: names no function; write",
    "nets.py:mak": "no function in",
    "nets.py:needs": "needs takes size, and is called without arguments",
    "nets.py:returns_text": "nets.py:returns_text returned 'a network'",
    "nets.py:no_neuron": "first, and neuro convert takes an ANN",
    "nets.py:empty": "0: LazyLinear has no weights yet; run it on a stimulus first",
    "nets.py:ends": "nets.py line {line}: ends the program (SystemExit: 0) before neuro has "
    "what it needs; remove that, or put it below if __name__ == '__main__':",
    "nets.py:breaks": "KeyError: 'weights'; NEURO_DEBUG=1 shows the traceback",
}


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
def test_a_source_that_is_none_is_refused_with_the_cure(
    folder: Path, tmp_path: Path, source: str, cli: CommandLine
) -> None:
    lines = (folder / "nets.py").read_text().splitlines()
    told = SOURCES[source].replace("{line}", str(lines.index("    sys.exit(0)") + 1))
    assert told in cli.refuse("import", folder / source, "--out", tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_choice_that_a_source_does_not_leave_open_is_refused(
    folder: Path, tmp_path: Path, cli: CommandLine
) -> None:
    argv = ("import", f"{folder / 'nets.py'}:make", "--out", tmp_path / "run", "--set")
    assert "leaves nothing open, so there is no dt; leave it out" in cli.refuse(*argv, "dt=1")
    assert "--set takes name=value, got 'dt'; write --set dt=0.0001" in cli.refuse(*argv, "dt")


LARGE = {
    "--ticks 0": "--ticks must be >= 1, got 0",
    "--ticks 1000000000000": "--ticks 1000000000000 x --samples 16 x the size of the input, 1, "
    "is 16,000,000,000,000; it must be <= 536,870,912. Use fewer ticks or samples",
    "--ticks 1 --samples 2097153 --shape 2,128": "the size of the input, 256, is 536,871,168;",
    "--ticks 1 --samples 2097152 --shape 2,128": "none.py: no such file",
    "--samples 2097152 --shape 2,128 --stimulus gone.npz": "gone.npz: cannot be read",
    "--shape 4096,4097": "--shape 4096,4097 has 16,781,312 values; it must have <= 16,777,216.",
    "--shape 4096,4096 --samples 1 --ticks 1": "none.py: no such file",
    f"--seed {2**70}": f"--seed must be >= 0 and < 2^63, got {2**70}",
}


@pytest.mark.slow
def test_a_stimulus_is_not_drawn_that_fits_no_memory(
    folder: Path, tmp_path: Path, cli: CommandLine
) -> None:
    """The size of the input of a file is known after it was read."""
    text = cli.refuse(
        *("import", f"{folder / 'nets.py'}:make", "--out", tmp_path / "run"),
        *("--ticks", 2**29 // 6 + 1, "--samples", 1),
    )
    assert "x the size of the input, 6, is 536,870,916; it must be <= 536,870,912" in text


@pytest.mark.slow
def test_numbers_of_a_random_stimulus_are_all_checked(
    folder: Path, tmp_path: Path, cli: CommandLine
) -> None:
    text = cli.refuse(
        *("import", f"{folder / 'none.py'}:none", "--out", tmp_path / "run"),  # at once
        *("--ticks=-2", "--samples=-1", "--rate", "20", "--seed=-1"),
    )
    assert "--ticks must be >= 1, got -2" in text
    assert "--samples must be >= 1, got -1" in text
    assert "--rate must be from 0 to 1, got 20" in text
    assert "--seed must be >= 0 and < 2^63, got -1; use 0, 1, 2" in text
    for words, told in LARGE.items():
        assert told in cli.refuse("import", folder / "none.py", *words.split())
    assert "--shape is whole numbers with commas, as 2,34,34; got '2x3'" in cli.refuse(
        "import", f"{folder / 'nets.py'}:stack", "--shape", "2x3"
    )


@pytest.mark.slow
def test_an_import_that_lacks_what_it_must_say_is_refused(copied: Path) -> None:
    path = copied / "drawn" / "import.json"
    facts = json.loads(path.read_text())
    del facts["stimulus"]["rate"], facts["stimulus"]["static"]
    path.write_text(json.dumps(facts))
    with pytest.raises(StoreError, match=r"stimulus.rate: is missing; stimulus.static: is mis"):
        read_facts(copied / "drawn")
    del facts["verification"]["rows"][0]["error"]
    path.write_text(json.dumps(facts))
    with pytest.raises(StoreError, match=r"import.json: .*error: is missing"):
        read_facts(copied / "drawn")
