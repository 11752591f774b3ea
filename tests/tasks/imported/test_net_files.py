"""A file of lava-dl as a run: with images as its stimulus, through the verbs."""

from pathlib import Path

import net_files
import numpy as np
import pytest
from command_line import CommandLine

from lava_export.openformat import read_program
from neuro.events import simulate
from neuro.io.graph_file import load_graph
from neuro.spikes import to_events, to_raster
from tasks.imported.files import read_facts
from tasks.imported.stimulus import load_stimulus

pytest.importorskip("h5py")


@pytest.fixture
def coded(tmp_path: Path) -> Path:
    """Return the file of a network whose input codes images of 12 pixels."""
    rng = np.random.default_rng(4)
    keys = {"iDecay": 4096, "vDecay": 1024, "vThMant": 25}
    coding = {f"neuron/{k}": v for k, v in {"type": "CUBA", **keys}.items()}
    head = {"type": "input", "shape": np.array([12]), "weight": 36.0, "bias": 34.0, **coding}
    last = net_files.dense(rng, 12, late=False, loop=True)
    return net_files.write(tmp_path / "coded.net", [head, last])


def test_an_image_is_shown_as_the_bias_of_neurons(
    coded: Path, tmp_path: Path, cli: CommandLine
) -> None:
    image = np.random.default_rng(2).integers(-2, 71, (3, 12))
    np.save(tmp_path / "image.npy", image)
    words = ("import", coded, "--out", tmp_path / "run", "--stimulus", tmp_path / "image.npy")
    out = cli.run(*words, "--ticks", 9, "--set", "time=lava")
    assert "time: lava, as netx runs it" in out
    assert "input: x = 36 p + 34 in whole numbers, for pixels p from -1 to 1" in out
    assert "weight_rec" in out
    stimulus = load_stimulus(tmp_path / "run" / "stimulus.npz").inputs["input"]
    assert np.array_equal(stimulus, np.repeat(image[None], 9, 0))
    graph = load_graph(tmp_path / "run" / "graph.safetensors")
    spikes = to_raster(simulate(graph, {"input": to_events(stimulus)})[0].spikes["0-input"])
    v, wanted = np.zeros(image.shape, int), []
    for _ in range(9):
        v = net_files.shift(v * 3072) + 64 * image
        wanted.append(v > 64 * 25)
        v = np.where(wanted[-1], 0, v)
    assert np.array_equal(spikes, wanted)
    assert "3 test samples" in cli.run("eval", tmp_path / "run")
    assert "1-dense_rec" in cli.run("energy", tmp_path / "run", "--chip", "loihi2")
    _, told = cli.end(2, *words[:3], tmp_path / "b", *words[4:])
    assert "must have the shape (ticks, samples, 12), got (3, 12)" in told
    np.save(tmp_path / "image.npy", np.ones((4, 3, 12)))
    _, told = cli.end(2, *words[:3], tmp_path / "b", *words[4:], "--ticks", 9)
    assert "has its own ticks; leave --ticks out" in told
    np.save(tmp_path / "image.npy", image / 2)
    _, told = cli.end(2, *words[:3], tmp_path / "b", *words[4:], "--ticks", 9)
    assert "no whole numbers from -4096 to 4095, which 13 bits hold" in told


def test_random_images_have_the_values_of_pixels(
    coded: Path, tmp_path: Path, cli: CommandLine
) -> None:
    out = cli.run("import", coded, "--out", tmp_path / "run", "--ticks", 7, "--samples", 40)
    assert "each pixel is a whole number from -2 to 70, the same in all of 7 ticks" in out
    x = load_stimulus(tmp_path / "run" / "stimulus.npz").inputs["input"]
    assert (x.min(), x.max(), x.shape) == (-2, 70, (7, 40, 12))
    assert (x == x[:1]).all()
    assert read_facts(tmp_path / "run")["stimulus"]["images"] == [-2, 70]


@pytest.mark.slow
def test_sigma_delta_networks_go_through_the_verbs(tmp_path: Path, cli: CommandLine) -> None:
    layers = [
        layer | {"delay": None} for layer in net_files.draw_sdnn(np.random.default_rng(7))
    ]
    path, run = net_files.write(tmp_path / "a.net", layers), tmp_path / "run"
    out = cli.run("import", path, "--out", run, "--ticks", 6, "--samples", 2)
    assert "time: slayer, as in training with delay_shift=False" in out
    assert "each pixel is a whole number from -25 to 35" in out
    for verb in ("eval", "simulate", "energy", "report"):
        cli.run(verb, run)
    found, told = cli.end(1, "check", run, "--target", "torch,events,loihi1,loihi2,exact")
    takes = [line.split()[0] for line in found.splitlines() if "takes it" in line]
    assert takes == ["torch", "events", "loihi2"]
    assert "only a programmable chip sends graded spikes" in found + told
    cli.run("export", run, "--c", tmp_path / "c", "--program", tmp_path / "a.neup")
    program = read_program(tmp_path / "a.neup")
    assert [p.kind for p in program.populations][1:3] == ["delta", "sigma_delta"]


@pytest.mark.slow
def test_spikes_go_through_the_verbs_and_other_values_are_refused(
    tmp_path: Path, cli: CommandLine
) -> None:
    layers = net_files.draw(np.random.default_rng([57, 2]), last_delays=False)
    path, run = net_files.write(tmp_path / "a.net", layers), tmp_path / "run"
    size = tuple(layers[0]["shape"])
    np.save(tmp_path / "x.npy", np.full((5, 2, *size), 0.5))
    _, told = cli.end(2, "import", path, "--out", run, "--stimulus", tmp_path / "x.npy")
    assert "0.5 is no whole number, in which the network computes; give spikes" in told
    cli.run("import", path, "--out", run, "--ticks", 6, "--samples", 2, "--set", "layers=4")
    for verb in ("eval", "simulate", "energy", "report"):
        cli.run(verb, run)
    found, _ = cli.end(1, "check", run, "--target", "torch,loihi2,lava,exact,nir")
    assert [line.split()[1] for line in found.splitlines() if "takes it" in line] == [
        "takes"
    ] * 3
    assert "a LoihiLIF has no normal form, by which the exact clock runs neurons" in found
