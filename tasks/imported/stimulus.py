"""The stimulus of an imported network: the user's arrays with labels, or random spikes.

A NumPy file holds one array per input, or one array for the only input. Labels may be in the
same file or in another one. No code in such a file is executed.
Axes: T ticks, B samples, ``*N`` the shape of an input.
"""

import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from tokenize import TokenError

import numpy as np

from lava_export.lower_loihi import is_in_integers
from neuro.base.text import format_shape
from neuro.graph import GradedInput, Graph
from neuro.graph.inputs import list_ungraded_values
from neuro.io.store import StoreError, read_bytes, write_bytes
from tasks.runs.settings import require_seed

# Errors that damaged zip files and NumPy headers raise.
DAMAGE = (
    *(ValueError, OSError, EOFError, KeyError, TypeError, SyntaxError, IndexError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, TokenError),
    *(NotImplementedError, RuntimeError, MemoryError, OverflowError),
)
MOST_VALUES = 2**29  # in a random stimulus, each drawn in 8 bytes
LABELS = "labels"  # name of the labels in a file
TICKS = "(ticks)"  # name of the number of ticks in the file of a run
MOST = 2**25  # values per batch, over all nodes and ticks
AXES = "ticks, samples, then the shape of the input"
SAVED = "np.savez(FILE, input=x, labels=y)"


class StimulusError(ValueError):
    """The stimulus does not fit the network; ``problems`` lists each reason with its cure."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(["the stimulus cannot be used:", *problems]))
        self.problems = problems


@dataclass(frozen=True, kw_only=True, eq=False)
class ImportedStimulus:
    """The stimulus of a run.

    inputs: values by Input (T B *N), of any numeric type. labels: class of each sample.
    repeated: whether the file holds images, which are shown in every tick.
    """

    inputs: Mapping[str, np.ndarray]
    labels: np.ndarray | None = None
    repeated: bool = False

    @property
    def ticks(self) -> int:
        """The length of a run."""
        return next(iter(self.inputs.values())).shape[0]

    @property
    def samples(self) -> int:
        """The number of samples."""
        return next(iter(self.inputs.values())).shape[1]

    @cached_property
    def values(self) -> Mapping[str, np.ndarray]:
        """The inputs that hold other values than 0 and 1."""
        return {n: x for n, x in self.inputs.items() if not ((x == 0) | (x == 1)).all()}


def require_numbers(ticks: int, samples: int, rate: float, seed: int, values: int = 1) -> None:
    """Raise unless a random stimulus can be drawn from these numbers.

    values: number of values in one tick of one sample.

    Raises:
        StimulusError: a number is out of range; lists all.
    """
    numbers = {"--ticks": ticks, "--samples": samples}
    problems = [f"{flag} must be >= 1, got {n}" for flag, n in numbers.items() if n < 1]
    if not problems and (total := ticks * samples * values) > MOST_VALUES:
        problems.append(
            f"--ticks {ticks} x --samples {samples} x the size of the input, {values:,}, is "
            f"{total:,}; it must be <= {MOST_VALUES:,}. Use fewer ticks or samples"
        )
    if not 0 <= rate <= 1:
        problems.append(
            f"--rate must be from 0 to 1, got {rate:g}: it is the probability of a spike in a "
            "tick; of a rate in Hz, multiply by the length of a tick in seconds"
        )
    try:
        require_seed(seed)
    except ValueError as error:
        problems.append(str(error))
    if problems:
        raise StimulusError(problems)


def generate_stimulus(
    graph: Graph, *, ticks: int, samples: int, rate: float, seed: int, static: bool = False
) -> ImportedStimulus:
    """Draw random spikes: each value is 1 with probability ``rate``, else 0.

    static: draw one tick and show it in every tick.

    Raises:
        StimulusError: a number is out of range; lists all.
    """
    require_numbers(ticks, samples, rate, seed, sum(map(graph.size, graph.inputs)))
    rng = np.random.default_rng(seed)
    times = ticks if static else 1  # repetitions of each drawn tick
    shapes = {name: (ticks // times, samples, *graph.shapes[name]) for name in graph.inputs}
    spikes = {name: (rng.random(s) < rate).repeat(times, 0) for name, s in shapes.items()}
    return ImportedStimulus(inputs=spikes)


def generate_images(
    graph: Graph, images: tuple[int, int], *, ticks: int, samples: int, seed: int
) -> ImportedStimulus:
    """Draw for each sample an image of whole numbers, and show it in every tick.

    images: the least and the largest value.

    Raises:
        StimulusError: a number is out of range; lists all.
    """
    require_numbers(ticks, samples, 0.0, seed, sum(map(graph.size, graph.inputs)))
    rng, (low, high) = np.random.default_rng(seed), images
    drawn = {n: rng.integers(low, high + 1, (samples, *graph.shapes[n])) for n in graph.inputs}
    shown = {n: np.repeat(x[None].astype(np.int16), ticks, 0) for n, x in drawn.items()}
    return ImportedStimulus(inputs=shown)


def require_run_of_source(
    path: Path, stimulus: ImportedStimulus, ticks: int | None, *, static: bool
) -> None:
    """Raise unless the source itself could run a stimulus.

    ticks: fixed number of ticks of the source; None: any number.
    static: whether the source takes one value per sample and shows it in every tick.

    Raises:
        StimulusError: lists every reason.
    """
    problems = []
    if ticks is not None and stimulus.ticks != ticks:
        problems.append(
            f"{path}: has {stimulus.ticks} ticks, and the source always runs {ticks}; give as "
            "many"
        )
    if static:
        problems += [
            f"{path}: {name}: changes from tick to tick, and the source shows one image in all "
            f"of them; np.repeat(images[None], {ticks or stimulus.ticks}, 0) does"
            for name, x in stimulus.inputs.items()
            if (x != x[:1]).any()
        ]
    if problems:
        raise StimulusError(problems)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an ``.npz`` by name; the array of an ``.npy`` is named "".

    Raises:
        StimulusError: the file is missing or damaged, or an array holds objects; lists all.
    """
    try:
        data = read_bytes(path)
    except StoreError as error:  # a pipe, or anything else that is not a regular file
        raise StimulusError([str(error)]) from error
    except OSError as error:
        problem = f"{path}: cannot be read ({error.strerror}); NumPy writes one: {SAVED}"
        raise StimulusError([problem]) from error
    problems, arrays = list[str](), dict[str, np.ndarray]()
    try:
        file = np.load(BytesIO(data), allow_pickle=False)
    except DAMAGE as error:
        raise StimulusError([f"{path}: {_explain(error)}"]) from error
    if isinstance(file, np.ndarray):
        return {"": file}
    for name in file.files:
        try:
            arrays[name] = file[name]
        except DAMAGE as error:
            problems.append(f"{path}: {name}: {_explain(error)}")
    if not problems and not arrays:
        problems.append(f"{path}: holds no array; NumPy writes one: {SAVED}")
    if problems:
        raise StimulusError(problems)
    return arrays


def _explain(error: BaseException) -> str:
    """Describe the problem of a file or an array, with the cure."""
    if "allow_pickle" in str(error):
        return (
            "holds Python objects, or is no file of NumPy's, and nothing of it is executed; "
            f"write arrays of numbers, all samples of the same length: {SAVED}"
        )
    return f"is damaged ({type(error).__name__}: {error}); write it again: {SAVED}"


def make_stimulus(
    graph: Graph,
    path: Path,
    arrays: Mapping[str, np.ndarray],
    labels_path: Path | None = None,
    classes: int | None = None,
    ticks: int = 0,
) -> ImportedStimulus:
    """Make the stimulus of a graph from the arrays of a file, with labels if there are any.

    classes: number of classes; None: the size of the output.
    ticks: an array without an axis of ticks is shown in so many; 0: it is refused.

    Raises:
        StimulusError: the arrays do not fit the graph; lists all problems.
    """
    given = {name: x for name, x in arrays.items() if name != LABELS}
    if len(given) == 1 and len(graph.inputs) == 1:
        given = {graph.inputs[0]: next(iter(given.values()))}
    problems = [
        f"{path}: has no array {name!r}, an input of the network; add it"
        for name in graph.inputs
        if name not in given
    ]
    problems += [
        f"{path}: {name!r} is no input of the network, which are "
        f"{', '.join(graph.inputs)}; rename or remove it"
        for name in given
        if name not in graph.inputs
    ]
    inputs = {name: given[name] for name in graph.inputs if name in given}
    images = {n: x for n, x in inputs.items() if ticks and x.shape[1:] == graph.shapes[n]}
    inputs |= {name: np.repeat(x[None], ticks, 0) for name, x in images.items()}
    for name, x in inputs.items():
        problems += [f"{path}: {name}: {p}" for p in _check_input(x, graph, name)]
    sizes = {x.shape[:2] for n, x in inputs.items() if x.ndim == 2 + len(graph.shapes[n])}
    if len(sizes) > 1:
        told = ", ".join(f"{name} {format_shape(x.shape[:2])}" for name, x in inputs.items())
        problems.append(f"{path}: inputs differ in (ticks, samples): {told}; make them equal")
    labels = None
    try:
        labels = _find_labels(path, arrays, labels_path)
    except StimulusError as error:
        problems += error.problems
    if labels is not None:
        where = labels_path or f"{path}: {LABELS}"
        size = next(iter(sizes)) if len(sizes) == 1 else None
        problems += [f"{where}: {p}" for p in _check_labels(labels, size, graph, classes)]
    if problems:
        raise StimulusError(problems)
    return ImportedStimulus(
        inputs=inputs,
        labels=None if labels is None else labels.astype(np.int64),
        repeated=bool(images),
    )


def _find_labels(
    path: Path, arrays: Mapping[str, np.ndarray], labels_path: Path | None
) -> np.ndarray | None:
    """Return the labels of the labels file, or of the stimulus file; None without labels."""
    if labels_path is None:
        return arrays.get(LABELS)
    if LABELS in arrays:
        raise StimulusError(
            [f"{path}: holds labels, and --labels {labels_path} too; leave one of them out"]
        )
    found = read_arrays(labels_path)
    if len(found) > 1 and LABELS in found:
        return found[LABELS]
    if len(found) > 1:
        names = ", ".join(found)
        raise StimulusError(
            [f"{labels_path}: holds {names}; keep the labels alone, or call them {LABELS!r}"]
        )
    return next(iter(found.values()))


def _check_input(x: np.ndarray, graph: Graph, name: str) -> list[str]:
    """List the problems of the values of an input."""
    shape, node = graph.shapes[name], graph.nodes[name]
    own = f"({', '.join(['ticks', 'samples', *map(str, shape)])})"
    if x.dtype.kind not in "biuf":
        return [f"holds {x.dtype}, which are no numbers; spikes are 0 and 1"]
    problems = []
    if x.ndim < 2 or x.shape[2:] != shape:
        cure = f"axes are {AXES}"
        if x.shape[1:] == shape:
            cure = (
                f"without an axis of ticks, np.repeat(x[None], T, 0) shows each of {len(x)} "
                f"samples in T ticks, such as 100; of one sample of {len(x)} ticks, x[:, None]"
            )
        elif sorted(x.shape[2:]) == sorted(shape):
            cure = "exchange its axes with x.transpose"
        elif np.prod(x.shape[2:]) == np.prod(shape):
            sizes = ", ".join(["*x.shape[:2]", *map(str, shape)])
            cure = f"x.reshape({sizes}), where C order is right"
        problems.append(f"must have the shape {own}, got {x.shape}; {cure}")
    if x.size == 0:
        problems.append(f"is empty: its shape is {x.shape}; give at least a tick of a sample")
    if x.dtype.kind == "f" and (wrong := np.count_nonzero(~np.isfinite(x))):
        problems.append(f"{wrong:,} of {x.size:,} values are NaN or infinite; replace them")
    if not problems and isinstance(node, GradedInput):
        problems += list_ungraded_values("values", x.ravel(), node.message_bits)
    elif not problems and is_in_integers(graph) and (x % 1 != 0).any():
        told = f"{x[x % 1 != 0][0]:g} is no whole number, in which the network computes"
        problems.append(f"{told}; give spikes of 0 and 1")
    return problems


def _check_labels(
    labels: np.ndarray, size: tuple[int, ...] | None, graph: Graph, classes: int | None
) -> list[str]:
    """List the problems of labels; size: ticks and samples, None if unknown."""
    if len(graph.outputs) != 1:
        return [
            f"the network has {len(graph.outputs)} outputs, {', '.join(graph.outputs)}, and a "
            "label belongs to one; import it without labels, or end it in one population"
        ]
    (output,) = graph.outputs
    classes = classes or graph.size(output)
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        one_hot = labels.ndim == 2 and labels.shape[1] == classes
        cure = "y.argmax(1) of one-hot rows" if one_hot else "y.astype(np.int64).ravel()"
        return [
            f"labels are whole numbers, one a sample, got {labels.dtype} of shape "
            f"{labels.shape}; give {cure}"
        ]
    problems = []
    if size is not None and len(labels) != size[1]:
        cure = "give one each, in their order"
        if len(labels) == size[0]:
            cure = (
                f"axes are {AXES}: x.swapaxes(0, 1); of a stimulus without ticks give the "
                "shape of a sample, as --shape 1,28,28"
            )
        problems.append(f"{len(labels)} labels for {size[1]} samples; {cure}")
    beyond = labels[(labels < 0) | (labels >= classes)]
    if beyond.size:
        problems.append(
            f"label {beyond[0]} is outside 0 ... {classes - 1}: there are {classes} classes; "
            "count them from 0"
        )
    return problems


def split_samples(
    graph: Graph, stimulus: ImportedStimulus
) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
    """Yield (samples, batch in float64); a run of the graph on a batch fits into memory."""
    values = sum(map(graph.size, graph.nodes)) * stimulus.ticks
    batch = max(1, MOST // max(1, values))
    for i in range(0, stimulus.samples, batch):
        some = slice(i, i + batch)
        yield some, {n: x[:, some].astype(np.float64) for n, x in stimulus.inputs.items()}


def save_stimulus(path: Path, stimulus: ImportedStimulus) -> None:
    """Write a stimulus; equal stimuli give equal files.

    An input that shows the same values in every tick is written once.

    Raises:
        StoreError: the file cannot be written.
    """
    labels = {} if stimulus.labels is None else {LABELS: stimulus.labels}
    once = {n: x[:1] if (x == x[:1]).all() else x for n, x in stimulus.inputs.items()}
    save_arrays(path, {**once, **labels, TICKS: np.array(stimulus.ticks)})


def load_stimulus(path: Path) -> ImportedStimulus:
    """Read a file that :func:`save_stimulus` wrote.

    Raises:
        StoreError: the file is damaged.
    """
    arrays = load_arrays(path)
    labels, ticks = arrays.pop(LABELS, None), arrays.pop(TICKS, None)
    if ticks is not None:  # earlier versions wrote all ticks
        wide = {n: (int(ticks), *x.shape[1:]) for n, x in arrays.items()}
        arrays = {n: np.broadcast_to(x, wide[n]) for n, x in arrays.items()}
    return ImportedStimulus(inputs=arrays, labels=labels)


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays of a run folder as an ``.npz``; raise a StoreError if that fails."""
    buffer = BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_bytes(path, buffer.getvalue())


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read a file that :func:`save_arrays` wrote; raise a StoreError if it is damaged."""
    try:
        return read_arrays(path)
    except StimulusError as error:
        raise StoreError(f"{error.problems[0]}; neuro import makes the run again") from error
