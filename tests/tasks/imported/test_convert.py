"""neuro convert: a trained ANN becomes a run of spiking neurons."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import CommandLine
from torch import nn

from neuro.graph import GradedInput
from neuro.io.graph_file import load_graph
from tasks.imported.convert import make_decoding
from tasks.imported.images import read_images
from tasks.imported.stimulus import StimulusError, load_stimulus

MODULE = """
import torch
from torch import nn

def make():
    draw = torch.Generator().manual_seed(3)
    layers = nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)
    net = nn.Sequential(*layers)
    for p in net.parameters():
        p.data = torch.randn(p.shape, generator=draw) / 2
    with torch.no_grad():  # all classes occur
        net[4].weight *= 3
        net[4].bias -= net(torch.rand(50, 1, 6, 6, generator=draw)).mean(0)
    return net

def pooled():
    layers = nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3)
    return nn.Sequential(*layers)

def two():
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 4), nn.ReLU(), nn.Linear(4, 2))

def flat():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AvgPool2d(2))

def spiking():
    import snntorch
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 3), snntorch.Leaky(beta=0.9))

number = 3
"""


def write_source(folder: Path, samples: int = 31) -> Path:
    """Write nets.py, and images.npz whose labels are the answers of ``make``, but for a few."""
    (folder / "nets.py").write_text(MODULE)
    scope: dict[str, object] = {}
    exec(MODULE, scope)
    net: nn.Module = scope["make"]()  # type: ignore[operator]
    x = np.random.default_rng(1).random((samples, 1, 6, 6)).astype(np.float32)
    with torch.no_grad():
        labels = net(torch.from_numpy(x)).argmax(1).numpy()
    assert len(set(labels.tolist())) == 3
    labels[:4] = (labels[:4] + 1) % 3
    np.savez(folder / "images.npz", input=x, labels=labels)
    return folder / "nets.py"


def test_a_module_becomes_a_run_that_verbs_take(tmp_path: Path, cli: CommandLine) -> None:
    source, out = write_source(tmp_path), tmp_path / "out"
    flags = ("--images", tmp_path / "images.npz", "--ticks", 16, "--out", out)
    text = cli.run("convert", f"{source}:make", *flags)
    assert f"wrote {out}; next: neuro verify {out}" in text
    facts = json.loads((out / "import.json").read_text())
    found = facts["conversion"]
    assert [t for t, _ in found["right"]] == [1, 2, 4, 8, 16, 32, 64]
    assert found["learned"] == []
    assert "the 99.9th percentile of each channel on 16 other images" in " ".join(text.split())
    assert (found["calibrated"], facts["stimulus"]["samples"]) == (16, 15)
    order = np.random.default_rng(0).permutation(31)
    wrong = int((order[16:] < 4).sum())
    assert found["ann"] == (15 - wrong) / 15
    assert f"ANN {found['ann']:.2%}".split() in [line.split() for line in text.splitlines()]
    kept = load_stimulus(out / "stimulus.npz").inputs["input"]
    assert kept.shape == (16, 15, 1, 6, 6)
    assert kept.strides[0] == 0  # written once
    graph = load_graph(out / "graph.safetensors")
    node = graph.nodes["input"]
    assert isinstance(node, GradedInput)
    assert node.message_bits == 9
    cli.run("eval", out)
    accuracy = json.loads((out / "eval.json").read_text())["accuracy"]
    assert accuracy == dict(found["right"])[16] / 15
    cli.run("verify", out)
    verified = json.loads((out / "verify.json").read_text())
    assert verified["torch_events"]["mismatches"] == 0
    assert verified["metrics"]["accuracy"]["torch"] == accuracy
    cli.run("report", out)
    page = (out / "report.html").read_text()
    assert "Conversion" in page
    assert f"{found['ann']:.2%}" in page


def test_the_run_of_an_ann_brings_its_images(tmp_path: Path, cli: CommandLine) -> None:
    run, out = tmp_path / "ann", tmp_path / "snn"
    small = [f"--set={x}" for x in ("train=200", "epochs=1", "test=40", "held=50", "batch=20")]
    cli.run("train", "mnist:counted", *small, "--out", run)
    cli.run("eval", run)
    text = cli.run("convert", run, "--ticks", 8, "--samples", 30, "--out", out)
    assert "All scales were trained." in text
    assert "use more --ticks." in text
    facts = json.loads((out / "import.json").read_text())
    assert facts["stimulus"] == {"file": "mnist", "ticks": 8, "samples": 30, "labels": True}
    assert facts["conversion"]["calibrated"] == 50
    layers = facts["conversion"]["layers"]
    assert [layer["name"] for layer in layers] == ["counted1", "counted2"]
    assert all(layer["clipped"] == 0 for layer in layers)
    assert facts["conversion"]["learned"] == ["counted1", "counted2"]
    assert "leave out --images" in cli.refuse(
        "convert", run, "--images", "digits", "--out", "x"
    )


@pytest.mark.parametrize(
    ("source", "flags", "said"),
    [
        ("nets.py:pooled", ["--images", "images.npz"], "max_pool2d() of 2 has no spiking form"),
        ("nets.py:make", [], "a module has no images; give --images"),
        ("nets.py:number", ["--images", "images.npz"], "returned 3; return a torch module"),
        ("none.py:make", ["--images", "images.npz"], "is neither a run folder nor file.py:"),
        ("nets.py:make", ["--images", "none.txt"], "is not one of digits, mnist, fashion"),
        (
            "nets.py:make",
            ["--images", "images.npz", "--ticks", "0"],
            "--ticks is 0; it must be",
        ),
        ("nets.py:make", ["--images", "images.npz", "--ticks", "1025"], "and <= 1024"),
        ("nets.py:make", ["--images", "images.npz", "--samples", "0"], "--samples is 0; it"),
        (
            "nets.py:make",
            ["--images", "images.npz", "--calibrated", "-1"],
            "--calibrated is -1",
        ),
        ("nets.py:make", ["--images", "images.npz", "--shape", "3,2,2"], "leave it out"),
        ("nets.py:make", ["--images", "digits"], "its images from digits are (1, 28, 28)"),
        (
            "nets.py:spiking",
            ["--images", "images.npz"],
            "network of snntorch; neuro import",
        ),
        (
            "nets.py:two",
            ["--images", "images.npz"],
            "label 2 is outside 0 ... 1: the",
        ),
        ("nets.py:flat", ["--images", "images.npz"], "its output has shape (4, 2, 2)"),
        ("nets.py:make", ["--images", "images.npz", "--percentile", "0"], "must be > 0"),
    ],
)
def test_what_cannot_be_converted_is_refused(
    tmp_path: Path, cli: CommandLine, source: str, flags: list[str], said: str
) -> None:
    write_source(tmp_path)
    words = [str(tmp_path / w) if w == "images.npz" else w for w in flags]
    told = cli.refuse("convert", str(tmp_path / source), *words, "--out", tmp_path / "x")
    assert said in told
    assert not (tmp_path / "x").exists()


def test_what_graded_pixels_lose_is_told(tmp_path: Path, cli: CommandLine) -> None:
    """One pixel of the images for the scales is 3,000 times as large as the others."""
    source = write_source(tmp_path)
    with np.load(tmp_path / "images.npz") as file:
        x, labels = file["input"].copy(), file["labels"]
    order = np.random.default_rng(0).permutation(31)
    x[order[0], 0, 0, 0] = 3000.0  # of the first half
    np.savez(tmp_path / "hot.npz", input=x, labels=labels)
    x[order[0], 0, 0, 0], x[order[20], 0, 2, 3] = 1.0, 50.0
    np.savez(tmp_path / "beyond.npz", input=x, labels=labels)
    told = {}
    for name in ("hot", "beyond"):
        flags = ("--images", tmp_path / f"{name}.npz", "--out", tmp_path / name)
        text = " ".join(cli.run("convert", f"{source}:make", *flags).split())
        found = json.loads((tmp_path / name / "import.json").read_text())["conversion"]
        told[name] = text, found
    text, found = told["hot"]
    assert found["graded"] < found["ann"]
    assert f"({found['graded']:.2%} where pixels are whole numbers, as in the run)" in text
    assert found["clipped"] == 0
    text, found = told["beyond"]
    assert found["clipped"] == pytest.approx(1 / (15 * 36))
    assert "0.2% of the pixels exceed the largest seen and are clipped" in text


def test_labels_count_from_0(tmp_path: Path, cli: CommandLine) -> None:
    source = write_source(tmp_path)
    with np.load(tmp_path / "images.npz") as file:
        np.savez(tmp_path / "below.npz", input=file["input"], labels=file["labels"] - 1)
    flags = ("--images", tmp_path / "below.npz", "--out", tmp_path / "x")
    assert "label -1 is outside 0 ... 2" in cli.refuse("convert", f"{source}:make", *flags)


def test_spikes_are_refused_with_a_cure(tmp_path: Path, cli: CommandLine) -> None:
    run = tmp_path / "spikes"
    small = [f"--set={x}" for x in ("train=60", "epochs=1", "test=20", "held=20", "batch=20")]
    cli.run("train", "mnist:tiny", *small, "--out", run)
    assert "its neurons spike; every verb takes a spiking run as it is" in cli.refuse(
        "convert", run, "--out", tmp_path / "x"
    )
    ann = tmp_path / "ann"
    cli.run("train", "mnist:tiny", *small, "--set=neuron=relu", "--out", ann)
    assert "its inputs spike; " in cli.refuse("convert", ann, "--out", tmp_path / "x")
    assert "relu1: no chip runs a Pointwise, its host does; neuro convert" in cli.refuse(
        "export", ann
    )


def test_the_decoding_is_the_mean_logit() -> None:
    sums = np.arange(24.0).reshape(4, 2, 3)
    np.testing.assert_allclose(make_decoding(4, 3).score(sums), sums[-1] / 4)


def test_images_of_a_file_are_split_at_random_and_kept_as_they_are(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((9, 2, 3, 3))
    np.savez(tmp_path / "a.npz", images=x, labels=np.arange(9))
    split = read_images(str(tmp_path / "a.npz"), 100, 3)
    assert (len(split.calibration.labels), len(split.test.labels)) == (5, 3)
    assert not set(split.calibration.labels.tolist()) & set(split.test.labels.tolist())
    np.testing.assert_array_equal(split.test.images, x[split.test.labels])


def test_image_folders_are_read(tmp_path: Path) -> None:
    from PIL import Image

    for part in ("train", "val"):
        for k, name in enumerate(("cat", "dog")):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for i in range(2 + k):
                Image.new("RGB", (10, 8), (100 * k + i, 0, 255)).save(folder / f"{i}.png")
    split = read_images(str(tmp_path), 4, 10, (3, 6, 6))
    assert split.test.images.shape == (5, 3, 6, 6)
    assert split.test.labels.tolist() == [0, 0, 1, 1, 1]
    assert len(split.calibration.labels) == 4
    assert split.test.images[4, 0].max() == pytest.approx(102 / 255)
    assert split.test.images[4, 2].min() == 1.0
    with pytest.raises(StimulusError, match="not given; give it, such as 3,32,32"):
        read_images(str(tmp_path), 4, 10)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": np.ones((3, 1, 2, 2))}, "has no whole-number array 'labels'"),
        ({"x": np.ones((3, 2)), "labels": np.ones(3)}, "has no whole-number array"),
        ({"x": np.ones((3, 2)), "y": np.ones((3, 2)), "labels": np.arange(3)}, "must hold one"),
        ({"x": np.ones((3, 2)), "labels": np.arange(4)}, "holds 3 images and 4 labels"),
        ({"x": np.full((3, 2), np.nan), "labels": np.arange(3)}, "holds NaN or infinity"),
        ({"x": np.ones((1, 2)), "labels": np.arange(1)}, "has 1 images; it must have >= 2"),
    ],
)
def test_other_files_are_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], said: str
) -> None:
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(StimulusError, match=said):
        read_images(str(tmp_path / "a.npz"), 5, 5)


def test_known_sets_have_a_channel_and_values_to_1() -> None:
    split = read_images("digits", 20, 30)
    assert split.test.images.shape == (30, 1, 28, 28)
    assert split.calibration.images.shape[0] == 20
    assert split.test.images.max() == 1.0
    assert sorted(set(split.test.labels.tolist())) == list(range(10))
