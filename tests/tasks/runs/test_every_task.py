from itertools import islice

import pytest
import torch

from neuro.base.seeds import seeded
from neuro.graph import Graph
from neuro.nn.net import Net
from neuro.nn.trace import trace
from tasks.images import task_template
from tasks.images.classification.mnist import MnistConfig, batches, demo, digits, tiny
from tasks.runs.find import NAMES, find_config, find_task, split_name
from tasks.runs.names import CONFIGURATIONS, UnknownName

# driving makes its data in minutes, language carries a state and its tiny one sends no spikes:
# so do those of hybrids, reasoning, flow and attribution: tests of their own
# (tests/tasks/driving, tests/tasks/language, tests/tasks/reasoning, ...) ask the same.
OTHERS = ("driving", "language", "hybrids", "reasoning", "flow", "attribution")
TINY = [(n, find_task(n).configs["tiny"]()) for n in NAMES if n not in OTHERS]


@pytest.mark.slow
def test_the_list_of_configurations_is_that_of_the_tasks() -> None:
    assert {name: tuple(find_task(name).configs) for name in NAMES} == CONFIGURATIONS


@pytest.mark.parametrize("name", NAMES)
def test_configurations_are_told_in_plain_words(name: str) -> None:
    """``neuro tasks`` prints the first line of each; what a function returns is no reader's."""
    for make in find_task(name).configs.values():
        about = (make.__doc__ or "").splitlines()[0]
        assert about.endswith((".", "?"))
        assert not about.startswith("Return")
        assert "`" not in about


@pytest.mark.parametrize(("name", "config"), TINY)
def test_tiny_builds_and_can_be_trained(name: str, config: object) -> None:
    task = find_task(name)
    with seeded(0):
        model = task.training.build(config)
        batch = next(iter(task.training.batches(config, "train", 0)))
        loss = task.training.loss(config, model, batch, 0.0)
    loss.backward()
    assert torch.isfinite(loss)
    assert any(p.grad is not None and p.grad.any() for p in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize(("name", "config"), TINY)
def test_the_part_for_the_chip_can_be_traced_and_takes_the_stimuli(
    name: str, config: object
) -> None:
    task = find_task(name)
    with seeded(0), torch.no_grad():
        model = task.training.build(config)
        for batch in islice(task.training.batches(config, "train", 0), 8):
            # Norms that saw nothing leave silence.
            task.training.loss(config, model, batch, 0.0)
    model.eval()
    stimulus = next(iter(task.deployment.stimuli(config, model, "test")))
    (x,), labels = stimulus.inputs.values(), stimulus.targets
    assert x.shape[1] == len(labels)
    part = task.deployment.part(config, model)
    if isinstance(part, Graph):
        graph, part = part, Net(part)
        assert (x == x.round()).all()
    else:
        graph = trace(part, tuple(x.shape[2:]))
        assert set(x.unique().tolist()) <= {0, 1}
    assert graph.shapes["input"] == x.shape[2:]
    with torch.no_grad():
        y = part({"input": x})[0] if isinstance(part, Net) else {graph.outputs[0]: part(x)[0]}
        outputs = {name: y[name] for name in graph.outputs}
    answers = task.evaluation.decode(config, model, outputs)
    values = task.evaluation.measure(config, answers, labels)
    assert set(values) <= {m.name for m in task.evaluation.metrics}
    captions = task.evaluation.describe(config, answers, labels)
    assert len(captions) in (0, len(labels))


@pytest.mark.parametrize(("name", "config"), TINY)
def test_training_batches_depend_on_the_epoch_alone(name: str, config: object) -> None:
    training = find_task(name).training
    first, again, other = (next(iter(training.batches(config, "train", e))) for e in (0, 0, 1))
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], other[0])
    assert sum(1 for _ in training.batches(config, "train", 0)) == training.steps(config)


@pytest.mark.parametrize(("name", "config"), [*TINY, ("template", task_template.tiny())])
def test_what_a_seed_changes_is_said_as_it_is(name: str, config: object) -> None:
    """``neuro compare`` prints it: the order of data is of the seed where it says so."""
    training = (task_template.TASK if name == "template" else find_task(name)).training
    batches = []
    for seed in (0, 0, 1):
        with seeded(seed):
            batches.append(next(iter(training.batches(config, "train", 0)))[1])
    assert torch.equal(batches[0], batches[1])
    changed, _, kept = training.seed_changes.partition("; ")
    assert changed.startswith("the initial weights")
    assert not torch.equal(batches[0], batches[2]) == ("order" in changed) == (not kept)


@pytest.mark.parametrize("name", OTHERS)
def test_what_a_seed_does_not_change_is_said_of_large_tasks(name: str) -> None:
    changed, _, kept = find_task(name).training.seed_changes.partition("; ")
    assert changed.startswith("the initial weights")
    assert "order" in kept


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_configuration_builds_on_the_meta_device(name: str) -> None:
    for make in find_task(name).configs.values():
        with torch.device("meta"):
            model = find_task(name).training.build(make())
        assert all(p.is_meta for p in model.parameters())


def test_the_splits_of_the_demo_share_no_digit() -> None:
    parts = {s: digits(demo(), s) for s in ("train", "val", "test")}  # type: ignore[arg-type]
    assert {s: len(d.labels) for s, d in parts.items()} == {
        "train": 3500,
        "val": 500,
        "test": 1000,
    }
    images = [i.tobytes() for d in parts.values() for i in d.images]
    assert len(set(images)) == 5000


def test_spikes_of_the_test_split_are_binary_and_in_order() -> None:
    config: MnistConfig = tiny()
    x, labels = next(batches(config, "test", 0))
    assert x.shape == (4, 100, 1, 28, 28)
    assert set(x.unique().tolist()) == {0.0, 1.0}
    assert labels.tolist() == list(range(10)) * 10


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(UnknownName, match="no task 'mnits'; did you mean 'mnist'"):
        find_task("mnits")
    with pytest.raises(UnknownName, match="no configuration 'tny'; did you mean 'tiny'"):
        find_config(find_task("mnist"), "tny")
    with pytest.raises(UnknownName, match="no task 'zzz'; there are mnist"):
        find_task("zzz")
    assert split_name("mnist:demo") == ("mnist", "demo")
    assert split_name("mnist") == ("mnist", "tiny")


@pytest.mark.parametrize(
    ("name", "config", "says"),
    [
        ("flow", "tiny", "the noisier ones before it. From layer to layer pass no spikes."),
        ("flow", "tiny_sit", "It sees the present image. From"),
        ("flow", "tiny_spiking", "From layer to layer pass counts of spikes."),
        ("language", "small_mlgru", "goes into all linear layers is real numbers, no spikes."),
        ("language", "small_spiking", "goes into all linear layers is counts of spikes."),
        ("reasoning", "tiny", "send real numbers, no spikes."),
        ("reasoning", "tiny_spiking", "send spikes."),
        ("attribution", "tiny", "sends no spikes, the language model does not."),
        ("attribution", "tiny_alif", "sends spikes, the language model does not."),
        ("attribution", "tiny_spiking", "sends no spikes, the language model does."),
        ("bottlenecks", "tiny", "network of spiking neurons"),
        ("bottlenecks", "tiny_relu", "network without spiking neurons"),
        ("image_generation", "tiny", "decoder have spiking neurons."),
        ("image_generation", "small_ann", "decoder have no spiking neurons."),
    ],
)
def test_a_report_says_what_spikes_in_this_configuration(
    name: str, config: str, says: str
) -> None:
    task = find_task(name)
    assert callable(task.about)
    assert says in task.about(task.configs[config]())
