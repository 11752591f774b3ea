"""A stimulus of the user: all that is wrong with it is told at once."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from command_line import CommandLine
from imported_networks import draw_stimulus, graph, two_inputs, two_outputs, write_networks

from neuro.graph import Graph
from neuro.io.store import StoreError
from tasks.imported.stimulus import (
    ImportedStimulus,
    StimulusError,
    load_stimulus,
    make_stimulus,
    read_arrays,
    save_stimulus,
    split_samples,
)

X, Y = draw_stimulus()
PATH = Path("data.npz")


def refuse(net: Graph, **arrays: np.ndarray) -> list[str]:
    """Return the problems of a stimulus."""
    with pytest.raises(StimulusError) as error:
        make_stimulus(net, PATH, arrays)
    return error.value.problems


def test_one_array_is_the_only_input_whatever_its_name() -> None:
    for name in ("x", "", "stimulus"):
        made = make_stimulus(graph(), PATH, {name: X, "labels": Y})
        assert np.array_equal(made.inputs["x"], X)
        assert made.labels is not None
        assert np.array_equal(made.labels, Y)
    assert (made.ticks, made.samples) == (12, 10)


def test_every_problem_of_every_input_is_told() -> None:
    bad = np.ones((4, 2, 3, 2))
    bad[0, 0] = np.nan
    assert refuse(two_inputs(), left=bad, middle=X, labels=Y[:3]) == [
        "data.npz: has no array 'right', an input of the network; add it",
        "data.npz: 'middle' is no input of the network, which are left, right; rename or "
        "remove it",
        "data.npz: left: must have the shape (ticks, samples, 2, 3), got (4, 2, 3, 2); "
        "exchange its axes with x.transpose",
        "data.npz: left: 6 of 48 values are NaN or infinite; replace them",
        "data.npz: labels: 3 labels for 2 samples; give one each, in their order",
    ]


def test_labels_for_the_ticks_tell_of_exchanged_axes() -> None:
    assert refuse(graph(), x=X.swapaxes(0, 1), labels=Y) == [
        "data.npz: labels: 10 labels for 12 samples; axes are ticks, samples, then the shape "
        "of the input: x.swapaxes(0, 1); of a stimulus without ticks give the shape of a "
        "sample, as --shape 1,28,28"
    ]


def test_inputs_agree_in_ticks_and_samples() -> None:
    one, other = np.ones((4, 2, 2, 3)), np.ones((5, 2, 2, 3))
    assert refuse(two_inputs(), left=one, right=other) == [
        "data.npz: inputs differ in (ticks, samples): left 4 x 2, right 5 x 2; make them equal"
    ]


SHAPES = {
    (12, 6): "without an axis of ticks, np.repeat(x[None], T, 0) shows each of 12 samples in T "
    "ticks, such as 100; of one sample of 12 ticks, x[:, None]",
    (12, 10, 2, 3): "x.reshape(*x.shape[:2], 6), where C order is right",
    (12, 10, 7): "axes are ticks, samples, then the shape of the input",
    (6,): "axes are ticks, samples, then the shape of the input",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_that_does_not_fit_has_a_cure(shape: tuple[int, ...]) -> None:
    told = refuse(graph(), x=np.zeros(shape))
    assert told == [
        f"data.npz: x: must have the shape (ticks, samples, 6), got {shape}; {SHAPES[shape]}"
    ]


def test_images_are_shown_in_every_tick_of_a_source_that_takes_images() -> None:
    images, labels = X[0] * 0.5, np.arange(10) % 3
    assert len(refuse(graph(), x=images, labels=labels)) == 1  # labels fit the samples
    given = {"x": images, "labels": labels}
    made = make_stimulus(graph(), PATH, given, ticks=7)
    assert (made.inputs["x"].shape, made.repeated) == ((7, 10, 6), True)
    assert (made.inputs["x"] == images).all()
    timed = make_stimulus(graph(), PATH, {"x": X, "labels": labels}, ticks=7)
    assert (timed.inputs["x"].shape, timed.repeated) == (X.shape, False)


def test_values_are_numbers_of_at_least_one_sample() -> None:
    assert "which are no numbers" in refuse(graph(), x=X.astype(str))[0]
    assert "which are no numbers" in refuse(graph(), x=X + 1j)[0]
    assert "x: is empty" in refuse(graph(), x=X[:, :0])[0]


def test_labels_are_classes_of_the_only_output() -> None:
    assert "outside 0 ... 2: there are 3 classes" in refuse(graph(), x=X, labels=Y + 1)[0]
    assert "give y.argmax(1) of one-hot rows" in refuse(graph(), x=X, labels=np.eye(3)[Y])[0]
    assert "give y.astype(np.int64).ravel()" in refuse(graph(), x=X, labels=Y + 0.0)[0]
    assert "y.astype(np.int64).ravel()" in refuse(graph(), x=X, labels=Y[:, None])[0]
    (told,) = refuse(two_outputs(), x=X[:, :, :2], labels=Y)
    assert "the network has 2 outputs, one, other, and a label belongs to one" in told


def test_labels_may_stand_in_a_file_of_their_own(tmp_path: Path) -> None:
    np.save(tmp_path / "y.npy", Y)
    np.savez(tmp_path / "y.npz", labels=Y, names=Y)
    np.savez(tmp_path / "odd.npz", one=Y, other=Y)
    for name in ("y.npy", "y.npz"):
        made = make_stimulus(graph(), PATH, {"x": X}, tmp_path / name)
        assert made.labels is not None
        assert made.labels.tolist() == Y.tolist()
    with pytest.raises(StimulusError, match="holds one, other; keep the labels alone"):
        make_stimulus(graph(), PATH, {"x": X}, tmp_path / "odd.npz")
    with pytest.raises(StimulusError, match="holds labels, and --labels"):
        make_stimulus(graph(), PATH, {"x": X, "labels": Y}, tmp_path / "y.npy")


def test_a_file_of_objects_is_not_executed_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    ragged = np.array([[1], [1, 2]], object)
    np.savez(tmp_path / "objects.npz", x=X, y=ragged)
    with pytest.raises(StimulusError, match="y: holds Python objects"):
        read_arrays(tmp_path / "objects.npz")
    (tmp_path / "text.npz").write_text("no array")
    with pytest.raises(StimulusError, match="or is no file of NumPy's"):
        read_arrays(tmp_path / "text.npz")
    np.savez(tmp_path / "cut.npz", x=X)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "cut.npz").read_bytes()[:-30])
    with pytest.raises(StimulusError, match="is damaged"):
        read_arrays(tmp_path / "cut.npz")
    with pytest.raises(StimulusError, match=r"gone.npz: cannot be read \(No such file"):
        read_arrays(tmp_path / "gone.npz")
    with zipfile.ZipFile(tmp_path / "cut.npz", "w", zipfile.ZIP_LZMA) as file:
        with file.open("x.npy", "w") as member:
            np.save(member, np.arange(4000.0) ** 2)
        place = file.getinfo("x.npy").header_offset + 200
    data = bytearray((tmp_path / "cut.npz").read_bytes())
    data[place] ^= 255
    (tmp_path / "cut.npz").write_bytes(data)
    with pytest.raises(StimulusError, match=r"is damaged \(LZMAError"):
        read_arrays(tmp_path / "cut.npz")
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(StimulusError, match=r"pipe.npz: is a pipe; it must be a regular file"):
        read_arrays(tmp_path / "pipe.npz")
    np.savez(tmp_path / "empty.npz")
    with pytest.raises(StimulusError, match="holds no array"):
        read_arrays(tmp_path / "empty.npz")


@pytest.mark.parametrize("dtype", ["?", "u1", "i4", "f2", "f8"])
def test_a_stimulus_is_kept_bit_for_bit(tmp_path: Path, dtype: str) -> None:
    stimulus = ImportedStimulus(inputs={"x": X.astype(dtype)}, labels=Y)
    for name in ("one.npz", "other.npz"):
        save_stimulus(tmp_path / name, stimulus)
    back = load_stimulus(tmp_path / "one.npz")
    assert np.array_equal(back.inputs["x"], stimulus.inputs["x"])
    assert back.inputs["x"].dtype == np.dtype(dtype)
    assert back.labels is not None
    assert np.array_equal(back.labels, Y)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "other.npz").read_bytes()
    (tmp_path / "one.npz").write_bytes(b"")
    with pytest.raises(StoreError, match="neuro import makes the run again"):
        load_stimulus(tmp_path / "one.npz")


def test_problems_reach_the_command_line_and_nothing_is_written(
    tmp_path: Path, cli: CommandLine
) -> None:
    nets = write_networks(tmp_path)
    np.savez(tmp_path / "data.npz", x=X[:, :, :5], labels=Y[:3])
    argv = ("import", f"{nets}:make", "--out", tmp_path / "run")
    text = cli.refuse(*argv, "--stimulus", tmp_path / "data.npz")
    assert "must have the shape (ticks, samples, 6), got (12, 10, 5)" in text
    assert "3 labels for 10 samples" in text
    text = cli.refuse(*argv, "--labels", tmp_path / "data.npz")
    assert "labels are of a stimulus; give it with --stimulus" in text
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data.npz", "nets.py"]


def test_a_batch_holds_as_many_samples_as_memory_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = graph()
    values = sum(map(net.size, net.nodes)) * X.shape[0]
    stimulus = ImportedStimulus(inputs={"x": X})
    monkeypatch.setattr("tasks.imported.stimulus.MOST", 4 * values - 1)
    found = list(split_samples(net, stimulus))
    assert X.shape[1] == 10
    assert [inputs["x"].shape[1] for _, inputs in found] == [3, 3, 3, 1]
    assert np.array_equal(np.concatenate([x["x"] for _, x in found], 1), X)
    assert all(np.array_equal(inputs["x"], X[:, some]) for some, inputs in found)
    monkeypatch.setattr("tasks.imported.stimulus.MOST", 1)
    assert len(list(split_samples(net, stimulus))) == X.shape[1]
