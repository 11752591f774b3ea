"""The interface of a task: what training needs, what a chip runs, what an evaluation returns.

The verbs and the report use only these three parts of a task. Classification
(:mod:`tasks.images.classification.classifier`) and image generation
(:mod:`tasks.images.generation`) are two examples.
Axes: T ticks, B samples of a batch, ``*N`` the shape of a node of the Graph.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Generic, Literal, NamedTuple, NewType, TypeVar

from torch import Tensor, nn

from neuro.base.arguments import describe
from neuro.graph import Graph
from neuro.io.run_folder import Run, RunError
from neuro.training import Course, Plan

C = TypeVar("C")
Html = NewType("Html", str)  # markup that is safe on a page
Split = Literal["train", "val", "test"]
Pair = tuple[Tensor, Tensor]  # a batch of stimuli T B ..., and their targets B
ROUNDING = 1e-12  # of metrics, where answers differ by the order of float64 sums
WRITTEN = {  # words of names that are written otherwise
    **{
        word: word.upper()
        for word in ("auc", "aupr", "auroc", "fad", "fd", "fid", "mae", "mse")
    },
    "iou": "IoU",
    "jensen": "Jensen",
    "l2": "L2",
    "shannon": "Shannon",
    "spearman": "Spearman",
}
Tree = Any  # a pytree of tensors: a tensor, or tuples, lists and dictionaries of them


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A figure of merit.

    name: its key in results files. better: the better direction. unit: printed behind the
    value. format: format specification of the value; one that ends with "%" prints a share.
    meaning: what the value says, in a sentence without its final stop, for the report.

    >>> accuracy = Metric(name="accuracy", format=".2%")
    >>> accuracy.text(0.9713), accuracy.difference(-0.006)
    ('97.13%', '-0.60 points')
    >>> Metric(name="error", better="lower", unit="m").text(0.123456)
    '0.1235 m'
    >>> Metric(name="reconstruction_mse").label
    'reconstruction MSE'
    """

    name: str
    better: Literal["higher", "lower"] = "higher"
    unit: str = ""
    format: str = ".4g"
    meaning: str = ""

    def __post_init__(self) -> None:
        if self.better not in ("higher", "lower"):
            raise ValueError(
                f'Metric {self.name}: better must be "higher" or "lower", got {self.better!r}'
            )

    @property
    def label(self) -> str:
        """The name in words, with abbreviations as they are written."""
        return " ".join(WRITTEN.get(word, word) for word in self.name.split("_"))

    @property
    def percent(self) -> bool:
        """Whether the value is a share, printed in percent."""
        return self.format.endswith("%")

    def text(self, value: float) -> str:
        """Return a value with its unit."""
        return self._with_unit(f"{value:{self.format}}")

    def difference(self, value: float) -> str:
        """Return a difference of two values with its sign; for shares, in percentage points."""
        if self.percent:
            return f"{100 * value:+.2f} points"
        return self._with_unit(f"{value:+{self.format}}")

    def loss(self, value: float, reference: float) -> float:
        """Return how much worse ``value`` is than ``reference``; negative if it is better."""
        return reference - value if self.better == "higher" else value - reference

    def describe_change(self, change: float, error: float | None, n: int) -> str:
        """Say whether ``change`` makes the metric better or worse, with its 95 % interval.

        If the interval contains 0, there is no measurable cost. If the interval of a share is
        wider than ± 1 point, the text says how many samples would narrow it to that.

        error: standard error of the change on ``n`` samples; None: unknown.

        >>> ACCURACY.describe_change(-0.02, 0.015, 100)
        'no measurable cost: 2.0 ± 3.0 points lost (100 samples; ± 1 point needs 900)'
        """
        lost = self.loss(change, 0.0)
        number, _, unit = self.difference(abs(lost)).removeprefix("+").partition(" ")
        worse, better = ("lost", "gained") if self.better == "higher" else ("higher", "lower")
        word = " ".join(filter(None, (unit, worse if lost >= 0 else better)))
        if error is None:
            return f"{number} {word}, of unknown uncertainty"
        if max(abs(lost), error) < ROUNDING:
            return "no answer changed"
        scale = 100 if self.percent else 1
        half = 2 * scale * error  # its first two digits say how many digits are known
        places = max(0, 1 - math.floor(math.log10(half))) if half else 2
        number, interval = (f"{x:.{places}f}" for x in (scale * abs(lost), half))
        about = f"{n:,} samples"
        if self.percent and (points := 200 * error) > 1.05:  # printed as more than ± 1.0
            about += f"; ± 1 point needs {n * points**2:,.0f}"
        start = "no measurable cost: " if abs(lost) <= 2 * error else ""
        return f"{start}{number} ± {interval} {word} ({about})"

    def _with_unit(self, text: str) -> str:
        return f"{text} {self.unit}" if self.unit else text


ACCURACY = Metric(name="accuracy", format=".2%", meaning="the share of correct answers")


def from_json(metrics: Mapping[str, Mapping[str, str]]) -> tuple[Metric, ...]:
    """Return the metrics that ``eval.json`` describes: the inverse of :func:`as_json`."""
    return tuple(Metric(name=name, **about) for name, about in metrics.items())  # type: ignore[arg-type]


def as_json(metrics: Iterable[Metric]) -> dict[str, dict[str, str]]:
    """Return direction, unit and format of metrics by name, for a results file."""
    kept = ("better", "unit", "format")
    return {m.name: {k: getattr(m, k) for k in kept} for m in metrics}


class Stimulus(NamedTuple):
    """A batch of stimuli for the part of a model that a chip runs.

    inputs: values of every input of its Graph, by name, T B *N; the input of a traced Stack is
    called "input".
    targets: the correct answers, any pytree of tensors whose first axis is B.
    drawn: how all samples were drawn from the split, such as "spread at random over 575"; ""
        says nothing.
    """

    inputs: Mapping[str, Tensor]
    targets: Tree
    drawn: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of results for the report; its first column holds words.

    example: whether it shows an example, at the top of the report.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""
    example: bool = False


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A PNG or an animated GIF that the evaluation has written into the run folder.

    example: whether it shows an example, at the top of the report.
    """

    file: str
    title: str
    caption: str
    example: bool = False


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The results of an evaluation on a split.

    values: the metrics by name, without those that could not be computed.
    n: number of samples. counted: the noun for these samples.
    split: the split of the samples; None if the model generates them.
    notes: what the value of a metric depends on; values with different notes are not compared.
    facts: further JSON values for ``eval.json``, by key.
    beside: the metrics of baselines on the same samples, by the baseline's name.
    errors: standard errors of the differences between this run and a baseline, where known, by
        the baseline's name and the metric's; those of accuracies are known from ``n``.
    """

    values: Mapping[str, float]
    n: int
    split: Split | None = "test"
    counted: str = "samples"
    notes: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    beside: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    errors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class EarlierTraining:
    """A training that ends before that of the run's model begins, such as of its teacher.

    what: the network that it trains, in words that follow "training".
    model: that network, with its initial weights; afterwards it has the trained ones.
    course, plan: as for :func:`neuro.training.fit`.
    finish: puts the trained network into the run's model.
    """

    what: str
    model: nn.Module
    course: Course
    plan: Plan
    finish: Callable[[nn.Module], None]


@dataclass(frozen=True, kw_only=True)
class Training(Generic[C]):
    """What training needs.

    build: configuration -> an untrained model.
    earlier: (configuration, model) -> the trainings that come before that of the model, in
        order. The run folder keeps their checkpoints until the model's training has ended.
    begin: (configuration, model) -> None: sets weights from an earlier run or from data before
        the first step of a training, after the earlier trainings. None: the model is left as
        built.
    plan: configuration -> epochs, optimizer, schedule and stages, see
        :class:`neuro.training.Plan`.
    steps: configuration -> the number of all batches in an epoch of training.
    batches: (configuration, split, epoch) -> batches; only "train" depends on the epoch. A
        batch is any pytree of tensors. Every results file holds the digest of those of "test".
    batch_axis: the axis of the samples in each tensor of a batch, as in
        :class:`neuro.training.Course`: an integer, or a pytree of integers that has the upper
        levels of a batch.
    sharded: whether batches of "train" hold this process's samples alone, as in
        :class:`neuro.training.Course`.
    dummy_batch: configuration -> a batch with the shapes of ``batches`` and any values, made
        without data; ``neuro train --dry-run`` makes it on torch's device "meta". None: the dry
        run reads the first batch.
    describe_data: configuration -> lines for ``neuro train --dry-run``: the size of the data,
        and the data that a training would generate; the function generates nothing.
    estimate: configuration -> tables for ``neuro train --dry-run``: time and disk space of a
        training whose data are too large to try; it may measure for a minute.
    loss: (configuration, model, batch, at) -> mean loss; at: share of the training that is
        done. Its draws from torch's global generator depend only on seed, epoch and step; draws
        for each sample come from :func:`neuro.training.distributed.draw_shard`.
    carry: for continuous streams, how long a state is passed from batch to batch: for an
        "epoch" or the whole "training". The loss is then called (configuration, model, batch,
        at, state) -> (mean loss, state); the first state is None, and no gradient flows
        through it.
    carry_types: named tuples and frozen dataclasses in that state, except those of neurons.
    batches_from: (configuration, epoch, step) -> the batches of training from that step on, to
        resume within an epoch; None: earlier batches are made and skipped.
    validation: the metric whose best value selects the weights that are kept.
    validate: (configuration, model) -> its value on the validation split.
    eventprop: for tasks that EventProp can train: a batch is (x T B ..., targets), and the loss
        calls the model once, as ``y, _ = model(x)``. Configuration -> the smallest slope of V
        at a spike, ``least`` of :func:`neuro.eventprop.compute_outputs`: smaller slopes are
        raised to it, which makes their gradients too small. 0: all gradients are exact.
    pin: for training files that must not change, such as a tokenizer's: configuration -> a
        configuration with their digests, which the run then uses.
    seed_changes: what another seed changes, in words that follow "a seed changes", for ``neuro
        compare``. "": unknown.
    skip_bad: for data files that may be damaged: configuration -> a configuration that leaves
        out and counts bad samples instead of refusing them.

    Raises:
        TypeError: ``validation`` is not a Metric, or another field is not a function.
    """

    build: Callable[[C], nn.Module]
    plan: Callable[[C], Plan]
    steps: Callable[[C], int]
    batches: Callable[[C, Split, int], Iterable[Tree]]
    dummy_batch: Callable[[C], Tree] | None = None
    describe_data: Callable[[C], Sequence[str]] | None = None
    estimate: Callable[[C], Sequence[Table]] | None = None
    batch_axis: Any = (1, 0)
    sharded: bool = False
    loss: Callable[..., Any]
    carry: Literal["no", "epoch", "training"] = "no"
    carry_types: tuple[type, ...] = ()
    batches_from: Callable[[C, int, int], Iterable[Tree]] | None = None
    validation: Metric
    validate: Callable[[C, nn.Module], float]
    eventprop: Callable[[C], float] | None = None
    pin: Callable[[C], C] | None = None
    seed_changes: str = ""
    skip_bad: Callable[[C], C] | None = None
    begin: Callable[[C, nn.Module], None] | None = None
    earlier: Callable[[C, nn.Module], Sequence[EarlierTraining]] | None = None

    def __post_init__(self) -> None:
        problems = list[str]()
        if not isinstance(self.validation, Metric):
            problems.append(
                f"validation must be a Metric, got {self.validation!r}; write "
                'Metric(name="mae", better="lower"), with its name and direction'
            )
        if self.eventprop is not None and not callable(self.eventprop):
            problems.append(
                f"eventprop must be a function of the configuration or None, got "
                f"{self.eventprop!r}; write lambda config: 0.1, the least slope at a spike"
            )
        names = ("build", "plan", "steps", "batches", "loss", "validate")
        _require_functions(self, *names, problems=problems)


def _require_functions(part: object, *names: str, problems: Sequence[str] = ()) -> None:
    """Raise a TypeError if an attribute is not a function, but a model, for example.

    problems: further problems that the message lists.
    """
    wrong = [
        f"{name} must be a function, got {describe(value)}; write it as a def or a lambda, "
        "which the verbs call when they need it"
        for name in names
        if isinstance(value := getattr(part, name), nn.Module) or not callable(value)
    ]
    if wrong or problems:
        raise TypeError(f"{type(part).__name__}: {'; '.join([*wrong, *problems])}")


@dataclass(frozen=True, kw_only=True)
class FurtherNetwork:
    """A network that a chip runs for an inference besides the one that answers.

    module: see ``Deployment.part``. stimuli: split -> its stimuli, whose targets are ignored.
    runs: number of runs per inference, such as one per camera.
    ann_passes: see :class:`Deployment`, for each of these runs.
    """

    module: nn.Module | Graph
    stimuli: Callable[[Split], Iterable[Stimulus]]
    runs: int = 1
    ann_passes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Deployment(Generic[C]):
    """What a chip runs.

    part: (configuration, model) -> the part of the model that has a Graph: a module that can be
        traced, a :class:`neuro.nn.net.Net` with any number of named inputs and outputs, or the
        Graph itself.
    stimuli: (configuration, model, split) -> the stimuli of that part: the results of the host
        operations in front of it, such as features of images.
    runs: configuration -> mean number of runs of that part per inference. Each sample of its
        stimuli is one run.
    host: (configuration, model) -> multiply-accumulates of host operations before or behind
        each run of that part, by name.
    ann_passes: configuration -> how often an ANN of the same shape computes its layers per
        inference, for the 45 nm convention: once per step of a sequence. None: once, as for an
        image, or once per tick if the part has a loop.
    step: the name of a tick, such as "token", if an inference is a sequence of ticks and only
        the part runs; energies are then also printed per step.
    others: (configuration, model) -> further networks that the chip runs for an inference, by
        name: those with another number of ticks or samples. They do not answer, so no metric
        covers them, but every executor runs them.
    prices: (configuration, model, ``energy.json``) -> the task's own tables, such as joules
        per token; they are printed, and kept in that file.
    only_torch: configuration -> why only torch can run that part, for the report and for the
        RunError of part, stimuli, host and others; "" if every executor can.
    unpriced: configuration -> why neuro energy refuses that part, for the report; "" if it
        does not.
    """

    part: Callable[[C, nn.Module], nn.Module | Graph]
    stimuli: Callable[[C, nn.Module, Split], Iterable[Stimulus]]
    runs: Callable[[C], int] = lambda _: 1
    host: Callable[[C, nn.Module], Mapping[str, int]] = lambda *_: {}
    ann_passes: Callable[[C], int] | None = None
    step: str = ""
    others: Callable[[C, nn.Module], Mapping[str, FurtherNetwork]] = lambda *_: {}
    prices: Callable[[C, nn.Module, Mapping[str, Any]], Sequence[Table]] = lambda *_: ()
    only_torch: Callable[[C], str] = lambda _: ""
    unpriced: Callable[[C], str] = lambda _: ""

    def __post_init__(self) -> None:
        on_chip = ("part", "stimuli", "host", "others")
        _require_functions(self, *on_chip, "runs", "prices", "only_torch", "unpriced")
        for name in on_chip:
            object.__setattr__(self, name, self._refuse_others(getattr(self, name)))

    def _refuse_others(self, make: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that raises a RunError where only torch can run the part."""

        @wraps(make)
        def make_if_possible(config: C, *others: Any) -> Any:
            if why := self.only_torch(config):
                raise RunError(why)
            return make(config, *others)

        return make_if_possible


@dataclass(frozen=True, kw_only=True)
class Evaluation(Generic[C]):
    """How a task is evaluated.

    metrics: all metrics that the evaluation can measure, the most important first.
    evaluate: (run, model) -> findings on the test split. It may write pictures into the run
        folder.
    decode: (configuration, model, outputs) -> answers. outputs: the values of each output of
        the Graph, by name, T B *N, from any executor (float64, in units of the float network).
        answers: a pytree of tensors whose first axis is B.
    measure: (configuration, answers, targets) -> values of metrics, by name, for all samples of
        a split at once. The verbs measure every executor with it.
    describe: (configuration, answers, targets) -> a caption for each sample.
    reading: a sentence for pictures on how the answer is decoded from the outputs.
    controls: configuration -> the trainings to compare a run with, by name, each as changed
        fields of its configuration. The report shows them if they lie beside the run, and
        otherwise their commands.
    headline: (run, ``eval.json``) -> what "How well" says in the report, in place of the
        sentence on the first metric; (): that sentence.
    sections: (run, ``eval.json``) -> the task's own sections of the report.
    """

    metrics: Sequence[Metric]
    evaluate: Callable[[Run, nn.Module], Findings]
    decode: Callable[[C, nn.Module, Mapping[str, Tensor]], Tree] = lambda *_: ()
    measure: Callable[[C, Tree, Tree], Mapping[str, float]] = lambda *_: {}
    describe: Callable[[C, Tree, Tree], Sequence[str]] = lambda *_: ()
    reading: str = ""
    controls: Callable[[C], Mapping[str, Mapping[str, Any]]] = lambda _: {}
    headline: Callable[[Run, Mapping[str, Any]], Sequence[Html]] = lambda *_: ()
    sections: Callable[[Run, Mapping[str, Any]], Sequence[Html]] = lambda *_: ()

    def __post_init__(self) -> None:
        names = (
            "evaluate",
            "decode",
            "measure",
            "describe",
            "controls",
            "headline",
            "sections",
        )
        _require_functions(self, *names)


@dataclass(frozen=True, kw_only=True)
class ModelOrigin:
    """The origin of a model that is not trained here.

    refusal: why ``neuro train`` does not train it, with the cure.
    remark: a note that every verb on the run prints, such as that its stimulus is random; "":
        none.
    sections: run -> sections of the report, instead of training curves.
    """

    refusal: str
    remark: str = ""
    sections: Callable[[Run], Sequence[Html]] = lambda _: ()

    def __post_init__(self) -> None:
        _require_functions(self, "sections")


@dataclass(frozen=True, kw_only=True)
class Task(Generic[C]):
    """One experiment.

    summary: one line for ``neuro tasks``.
    about: what the system does, in two sentences, for the report; a function of the
        configuration if configurations differ.
    configs: functions that return complete configurations (frozen dataclasses), by name; "tiny"
        runs in seconds on a CPU, offline.
    origin: None if the model is trained here. Otherwise ``Training.build`` returns the final
        model.

    Raises:
        TypeError: ``configs`` holds a configuration instead of its function.
    """

    summary: str
    configs: Mapping[str, Callable[[], C]]
    training: Training[C]
    deployment: Deployment[C]
    evaluation: Evaluation[C]
    origin: ModelOrigin | None = None
    about: str | Callable[[C], str] = ""

    def __post_init__(self) -> None:
        wrong = [name for name, make in self.configs.items() if not callable(make)]
        if wrong:
            raise TypeError(
                f"Task: the configurations {', '.join(wrong)} must be functions that return "
                f"one, got {describe(self.configs[wrong[0]])}; give the function itself, "
                f'without brackets: configs={{"{wrong[0]}": {wrong[0]}}}'
            )


@dataclass(frozen=True, kw_only=True)
class TaskRun(Run):
    """A run, with its task as it was when the run began."""

    definition: Task[Any] = field(repr=False, compare=False)
