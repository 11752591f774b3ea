"""``neuro convert``: makes a run of spiking neurons from a trained ANN, and says what was lost.

Axes: T ticks, B samples, K classes, ``*N`` the shape of the input.
"""

import shlex
import sys
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rich.console import Console

from neuro.base.version import __version__
from neuro.graph import GradedInput, Graph
from neuro.graph.convert import convert, list_activations, list_unconvertible
from neuro.graph.grading import find_unit, grade_inputs
from neuro.graph.validate import GraphError
from neuro.interop.ann import SAMPLES as COMPARED, read_ann
from neuro.interop.decoding import Decoding
from neuro.interop.imported import RETURNED, ComparedPopulation
from neuro.interop.neuron_reader import CaptureError
from neuro.io.run_folder import RunError
from neuro.nn.net import Net
from neuro.nn.scales import By, find_scales, measure_conversion, split_batches
from tasks.images.classification.classifier import MESSAGE_BITS
from tasks.imported.coding import CodedNetwork
from tasks.imported.files import (
    ConversionFacts,
    ImportFacts,
    StimulusFacts,
    describe_rows,
    name_source,
)
from tasks.imported.images import ImageSplit, LabelledImages, read_images
from tasks.imported.import_network import require_new, write_run
from tasks.imported.sections import (
    CONVERTED,
    CURVE,
    describe_conversion,
    tabulate_curve,
    tabulate_layers,
)
from tasks.imported.source import LIBRARIES, SourceError, load_module
from tasks.imported.stimulus import ImportedStimulus
from tasks.runs.find import open_folder
from tasks.runs.trained_run import ChipNetwork, open_trained_run

UNTIL = (1, 2, 4, 8, 16, 32, 64)  # ticks at which the accuracy is measured
AT_MOST = 1024  # ticks of a run


@dataclass(frozen=True, kw_only=True)
class ConversionWords:
    """What the command line says.

    images: see :func:`tasks.imported.images.read_images`; "" for a run, which has its own.
    ticks: length of the run. percentile, by: see :func:`neuro.nn.scales.find_scales`.
    calibrated, samples: most images to find scales with, and to measure with.
    """

    images: str = ""
    shape: tuple[int, ...] | None = None
    ticks: int = 32
    percentile: float = 99.9
    by: By = "channel"
    calibrated: int = 500
    samples: int = 1000


class OpenedANN(NamedTuple):
    """An ANN with its images.

    graph: of one tick. split: its values are whole numbers if its input is a GradedInput.
    unit: what the whole number 1 stands for, in words. library: see ``import.json``.
    rows: its comparison with its source. accuracy: before its input was graded; None: it always
    was. clipped: share of pixels beyond the largest seen in the images for the scales.
    """

    graph: Graph
    split: ImageSplit
    unit: str
    library: str
    source: dict[str, str]
    rows: tuple[ComparedPopulation, ...] = ()
    clipped: float = 0.0
    accuracy: float | None = None


def convert_network(source: str, out: Path, words: ConversionWords) -> ImportFacts:
    """Make the run folder ``out`` of a converted ANN; return the contents of ``import.json``.

    source: the folder of a trained run, or file.py:function, whose function returns a module.

    Raises:
        RunError: the folder exists, or the run's network has no classes.
        SourceError, TaskFileError, StimulusError: source or images cannot be used.
        GraphError, CaptureError: a part of the network has no spiking form; lists all.
        ValueError: a number is out of range, or a layer is silent.
    """
    require_new(out)
    if not 1 <= words.ticks <= AT_MOST:
        raise ValueError(
            f"--ticks is {words.ticks}; it must be >= 1 and <= {AT_MOST}. 8 to 32 are usual"
        )
    for flag, n in (("--calibrated", words.calibrated), ("--samples", words.samples)):
        if n < 1:
            raise ValueError(f"{flag} is {n}; it must be >= 1. 500 images are usual")
    ann = _open_run(source, words) if Path(source).is_dir() else _open_file(source, words)
    (name,) = ann.graph.inputs
    calibration, test = ann.split.calibration, ann.split.test
    problems = list_unconvertible(ann.graph) + _list_problems_of_labels(ann.graph, test.labels)
    if problems:
        raise GraphError(problems, f"{source} cannot be converted")
    scales = find_scales(ann.graph, {name: calibration.images}, words.percentile, words.by)
    graph = convert(ann.graph, scales)
    until = sorted({*UNTIL, words.ticks})
    measured = measure_conversion(ann.graph, graph, {name: test.images}, words.ticks, until)
    logits = measured.logits
    graded = measure_ann(ann.graph, test)
    facts = ImportFacts(
        neuro=__version__,
        source=ann.source,  # type: ignore[typeddict-item]
        library=ann.library,
        choices={"input": ann.unit, "answers": "the sum of the logits over all ticks"},
        mapping=[],
        verification={
            "ticks": 1,
            "samples": COMPARED,
            "seed": 0,
            "rows": describe_rows(ann.rows),
            "hidden": [],
            "silent": [],
        },
        stimulus=StimulusFacts(
            file=ann.split.name, ticks=words.ticks, samples=len(test.labels), labels=True
        ),
        conversion=ConversionFacts(
            ann=graded if ann.accuracy is None else ann.accuracy,
            graded=graded,
            clipped=ann.clipped,
            right=[[t, int((x.argmax(1) == test.labels).sum())] for t, x in logits.items()],
            percentile=words.percentile,
            by=words.by,
            calibrated=len(calibration.labels),
            learned=[n for n in list_activations(ann.graph) if n not in scales],
            layers=[asdict(layer) for layer in measured.layers],
        ),
    )
    shown = np.broadcast_to(test.images, (words.ticks, *test.images.shape))
    stimulus = ImportedStimulus(inputs={name: shown}, labels=test.labels)
    decoding = make_decoding(words.ticks, logits[words.ticks].shape[1])
    write_run(out, CodedNetwork(graph, stimulus, None), facts, decoding)
    return facts


def _list_problems_of_labels(graph: Graph, labels: np.ndarray) -> list[str]:
    """List why the labels are no classes of the output."""
    (shape,) = {graph.shapes[name] for name in graph.outputs}
    if len(shape) != 1:
        return [f"its output has shape {shape}; end it in one value per class, (K,)"]
    beyond = labels[(labels < 0) | (labels >= shape[0])]
    if not beyond.size:
        return []
    return [
        f"label {beyond[0]} is outside 0 ... {shape[0] - 1}: the network has {shape[0]} "
        "outputs; count classes from 0, and give the network its own images"
    ]


def make_decoding(ticks: int, classes: int) -> Decoding:
    """Return the decoding of a converted network: its last output over the number of ticks."""
    weights = np.zeros((ticks, classes))
    weights[-1] = 1 / ticks
    return Decoding(weights=weights, bias=np.zeros(classes))


def measure_ann(graph: Graph, images: LabelledImages) -> float:
    """Return the accuracy of an ANN's Graph."""
    (name,), (output,), net = graph.inputs, graph.outputs, Net(graph).double()
    batches = split_batches(graph, {name: images.images})
    with torch.no_grad():
        answers = [net(batch)[0][output][0].flatten(1).argmax(1) for batch in batches]
    return float((torch.cat(answers).numpy() == images.labels).mean())


def _open_file(source: str, words: ConversionWords) -> OpenedANN:
    """Return the ANN of a Python file, its input graded."""
    if not words.images:
        raise SourceError(f"{source}: a module has no images; give --images, with labels")
    split = read_images(words.images, words.calibrated, words.samples, words.shape)
    opened = load_module(source)
    shape = split.test.images.shape[1:]
    for library in {type(m).__module__.partition(".")[0] for m in opened.module.modules()}:
        if library in LIBRARIES:
            raise SourceError(
                f"{source} is a spiking network of {library}; neuro import takes it"
            )
    try:
        read = read_ann(opened.module, shape)
    except CaptureError as error:
        told = f"{source} cannot be converted; its images from {words.images} are {shape}:"
        raise SourceError("\n".join([told, *error.problems])) from error
    accuracy = measure_ann(read.graph, split.test)
    unit = find_unit(split.calibration.images, MESSAGE_BITS)
    graph = grade_inputs(read.graph, dict.fromkeys(read.graph.inputs, unit), MESSAGE_BITS)
    most = (1 << (MESSAGE_BITS - 1)) - 1

    def grade(found: LabelledImages) -> LabelledImages:
        whole = np.rint(found.images / unit).clip(-most, most)
        return LabelledImages(whole.astype(np.int16), found.labels)

    row = ComparedPopulation(
        population=RETURNED, stimulus="random images", spikes=0, different=0,
        error=read.error, largest=1.0,
    )  # fmt: skip
    return OpenedANN(
        graph=graph,
        split=ImageSplit(grade(split.calibration), grade(split.test), split.name),
        accuracy=accuracy,
        clipped=float((np.abs(split.test.images) > (most + 0.5) * unit).mean()),
        unit=f"graded: whole numbers of {MESSAGE_BITS} bits; 1 stands for {unit:.4g}",
        library=f"torch {torch.__version__.partition('+')[0]}, converted",
        source={"name": opened.name, "function": opened.function, "digest": opened.digest},
        rows=(row,),
    )


def _open_run(source: str, words: ConversionWords) -> OpenedANN:
    """Return the ANN of a trained run, whose stimulus is constant and graded."""
    if words.images or words.shape:
        raise SourceError(
            f"{source} is a run, which has its images; leave out --images and --shape"
        )
    run = open_folder(Path(source))
    networks = open_trained_run(run).networks
    network = networks[""]
    names = network.graph.inputs
    if len(networks) > 1 or len(names) > 1:
        raise RunError(
            f"{source}: has {len(networks)} networks and {len(names)} inputs; a run with one "
            "of each can be converted"
        )
    if network.graph.firing or not isinstance(network.graph.nodes[names[0]], GradedInput):
        raise RunError(
            f"{source}: {'its neurons' if network.graph.firing else 'its inputs'} spike; every "
            "verb takes a spiking run as it is, and convert takes an ANN, such as a run of "
            "mnist:counted or one trained with --set code=direct --set ticks=1"
        )
    test = read_split(source, network, "test", words.samples)
    return OpenedANN(
        graph=network.graph,
        split=ImageSplit(read_split(source, network, "val", words.calibrated), test, run.task),
        unit="graded: whole numbers, as in the run that was converted",
        library=f"neuro {__version__}, converted",
        source={"name": f"{run.task}:{run.name}", "function": "", "digest": ""},
    )


def read_split(source: str, network: ChipNetwork, split: str, most: int) -> LabelledImages:
    """Return images of a run's split: the first tick of its stimuli, which are constant.

    most: number of images; 0: all.
    """
    images, labels, left = [], [], most or sys.maxsize
    for stimulus in network.stimuli(split):  # type: ignore[arg-type]
        (x,) = stimulus.inputs.values()
        if not isinstance(stimulus.targets, torch.Tensor) or stimulus.targets.dim() != 1:
            raise RunError(f"{source}: its targets are no classes; convert takes a classifier")
        if (x != x[:1]).any():
            raise RunError(
                f"{source}: its stimulus changes from tick to tick, and an ANN takes one "
                "image; train it with --set ticks=1"
            )
        images.append(x[0, :left].numpy().astype(np.int16))
        labels.append(stimulus.targets[:left].numpy())
        left -= len(labels[-1])
        if left <= 0:
            break
    return LabelledImages(np.concatenate(images), np.concatenate(labels))


def print_conversion(console: Console, out: Path, facts: ImportFacts) -> None:
    """Print the accuracy over ticks, the loss of each layer, and what to do about it."""
    from tasks.report.tables import make_table

    said = partial(console.print, highlight=False, soft_wrap=True)
    said(f"{name_source(facts)} ({facts['library']})")
    first, meaning, *others = describe_conversion(facts)
    said(first)
    rows = tabulate_curve(facts)
    console.print(make_table("Accuracy by length of the run", *CURVE, rows=rows))
    title = f"What each layer loses in {facts['stimulus']['ticks']} ticks"
    console.print(make_table(title, *CONVERTED, rows=tabulate_layers(facts)))
    for line in (meaning, *others):
        said(line)
    said(f"wrote {out}; next: neuro verify {shlex.quote(str(out))}")
