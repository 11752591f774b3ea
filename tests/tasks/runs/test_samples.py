"""What is given in place of samples and judges: refused with the cure before anything runs."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from tables import read_table, require_answer
from torch import Tensor
from written_graphs import chain

from neuro.graph import Dense, Input, Softmax
from neuro.neurons import LI
from neuro.spikes import Events, to_events, to_raster
from tasks.measures.energy import estimate_samples
from tasks.measures.verify import verify_samples
from tasks.report.host import share_host
from tasks.runs.samples import (
    CLASSIFIER,
    NO_ANSWERS,
    Judge,
    Samples,
    draw_spread,
    estimate_errors,
    iterate_batches,
    pick_spread,
)

T, B, N, K = 4, 3, 3, 2
GRAPH = chain(
    input=Input(shape=(N,)),
    fc=Dense(weight=np.array([[1.0, 0.5, 0.25], [-0.5, 1.0, 0.5]])),
    out=LI(tau=0.02),
)
STIMULUS = {"input": to_events(np.broadcast_to(np.eye(N, dtype=np.float32), (T, B, N)))}
LABELS = torch.tensor([0, 1, 1])
SAMPLES = Samples(STIMULUS, LABELS)
verify = partial(verify_samples, lava_samples=0)


@pytest.fixture(autouse=True)
def types_are_checked_by_the_code_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As users run it: in tests beartype would be there first."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def with_labels(labels: Any) -> Any:
    return verify(GRAPH, Samples(STIMULUS, labels))


def with_judge(
    decode: Any = lambda outputs: outputs["out"][-1],
    measure: Any = lambda answers, _: {"n": len(answers)},
) -> Any:
    return verify(GRAPH, SAMPLES, Judge(decode, measure))


def longer(events: Events) -> Events:
    return events._replace(shape=(T + 1, *events.shape[1:]))


NAMES = {**globals(), "estimate_samples": estimate_samples}

# The code, and below it its error with phrases of the message.
SLIPS = """
# Targets.
with_labels(LABELS[:2])
    ValueError: (2,) for 3 samples | one row a
with_labels(LABELS[0])
    ValueError: shape () for 3 samples | one row a
with_labels([0, 1, 1])
    TypeError: targets must be | torch.tensor(labels)
with_labels(np.array(["a"] * 3))
    TypeError: <U1 | torch.tensor(labels)
with_labels(None)
    TypeError: got None | torch.tensor(labels)
with_labels(torch.eye(K)[LABELS])
    ValueError: (3, 2) | labels.argmax(1)
with_labels(LABELS.float())
    ValueError: float32 | labels.long()
with_labels(LABELS[:, None])
    ValueError: (3, 1) | flatten()
with_labels(LABELS + 1)
    ValueError: label 2 is outside 0 ... 1 | from 0
with_labels(LABELS - 1)
    ValueError: label -1 is outside | from 0
# Something else in place of samples.
verify(SAMPLES, GRAPH)
    TypeError: got a Samples | trace(net,
verify(GRAPH, GRAPH)
    TypeError: got a Graph | Samples(stimulus,
verify(GRAPH, STIMULUS)
    TypeError: got a dict | Samples(stimulus,
verify(GRAPH, "test")
    TypeError: got 'test' | Samples(stimulus,
verify(GRAPH, (STIMULUS, LABELS))
    TypeError: batch 0 must be Samples, got a dict | Samples(stimulus, labels)
verify(GRAPH, Samples(LABELS, STIMULUS))
    TypeError: inputs must be Events or Times by the name of their Input, got a Tensor
verify(GRAPH, Samples({"input": to_raster(STIMULUS["input"])}, LABELS))
    TypeError: input must be Events or Times, got a NumPy array | to_events(raster)
verify(GRAPH, Samples({"x": STIMULUS["input"]}, LABELS))
    ValueError: x: not an Input; there are input | input: no events
verify(GRAPH, Samples({}, LABELS))
    ValueError: no events | input
verify(GRAPH, [SAMPLES, Samples({"input": longer(STIMULUS["input"])}, LABELS)])
    ValueError: batch 1 has 5 ticks, those before it 4 | events._replace(shape=(ticks, B, N))
verify_samples(GRAPH, SAMPLES, lava_samples=-1)
    TypeError: lava_samples must be a whole number >= 0, got -1 | 0 leaves Lava out
# Judges.
verify(GRAPH, SAMPLES, Judge)
    TypeError: the class Judge | Judge(decode
verify(GRAPH, SAMPLES, lambda outputs: outputs)
    TypeError: judge must be a Judge, got a function | Judge(decode, measure)
with_judge(measure=lambda outputs: outputs)
    TypeError: Judge.measure must be a function of (answers, targets) | in this order
with_judge(decode="out")
    TypeError: Judge.decode | got 'out'
with_judge(measure=lambda _, __: 0.5)
    TypeError: what Judge.measure returns must be values by the name of their metric, got 0.5
with_judge(measure=lambda answers, _: {"right": answers[:, 0]})
    TypeError: right of Judge.measure must be a number, got a Tensor of shape (3,) | 0.9}
with_judge(decode=lambda _: [0, 1, 1])
    TypeError: what Judge.decode returns must be numbers | torch.stack(answers)
with_judge(decode=lambda outputs: outputs["out"])
    ValueError: what Judge.decode returns of shape (4, 3, 2) for 3 samples | one row a sample
# Energy.
estimate_samples(SAMPLES, GRAPH)
    TypeError: Samples | trace(
estimate_samples(GRAPH, SAMPLES, "loihi1")
    TypeError: chips must be several chips, or their names, got 'loihi1' | ["loihi1"]
estimate_samples(GRAPH, SAMPLES, [])
    ValueError: no chips | None
estimate_samples(GRAPH, SAMPLES, [1])
    TypeError: got 1 | "loihi1"
estimate_samples(GRAPH, SAMPLES, ann_passes=0.5)
    TypeError: ann_passes must be a whole number | got 0.5
"""


@pytest.mark.parametrize(("code", "answer"), read_table(SLIPS))
def test_a_slip_is_answered_with_what_was_wrong_and_the_cure(code: str, answer: str) -> None:
    require_answer(code, answer, NAMES)


def test_what_is_wrong_is_told_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    for verb in ("verify", "energy"):
        monkeypatch.setattr(f"tasks.measures.{verb}.simulate", None)
    answers = dict(read_table(SLIPS))
    for code in (
        "with_labels(LABELS[:2])",
        "verify(SAMPLES, GRAPH)",
        "verify(GRAPH, SAMPLES, Judge)",
        "with_judge(measure=lambda outputs: outputs)",
        'estimate_samples(GRAPH, SAMPLES, "loihi1")',
    ):
        require_answer(code, answers[code], NAMES)


def test_the_default_judge_reads_one_output_and_counts_right_answers() -> None:
    y = torch.zeros(4, 3, 2)
    y[3, 0, 1] = y[0, 2, 1] = 1.0
    scores = CLASSIFIER.decode({"out": y})
    assert torch.equal(scores, torch.tensor([[0, 0.25], [0, 0], [0, 0.25]]))
    assert CLASSIFIER.measure(scores, torch.ones(3, dtype=torch.int64)) == {"accuracy": 2 / 3}
    with pytest.raises(ValueError, match=r"several outputs, a, b; .* Judge\(decode, measure\)"):
        CLASSIFIER.decode({"a": y, "b": y})


def test_answers_and_figures_may_be_of_numpy() -> None:
    def decode(outputs: Mapping[str, Tensor]) -> Any:
        return {"last": outputs["out"][-1].numpy()[::-1]}

    def measure(answers: Any, labels: Tensor) -> dict[str, Any]:
        assert isinstance(answers["last"], Tensor)
        return {"mean": answers["last"].mean(), "sum": np.float32(labels.sum())}

    found = verify(GRAPH, SAMPLES, Judge(decode, measure))["metrics"]
    assert found["sum"] == {"torch": 2.0, "events": 2.0, "integers": 2.0}
    assert found["mean"]["torch"] == pytest.approx(found["mean"]["events"], rel=1e-12)
    assert type(found["mean"]["torch"]) is float


def test_labels_of_any_array_are_those_of_a_tensor() -> None:
    want = verify(GRAPH, SAMPLES)
    assert want["metrics"]["accuracy"]["torch"] == 1.0
    frozen = np.array([1, 1, 0], np.uint8)[::-1]
    frozen.setflags(write=False)
    assert verify(GRAPH, Samples(STIMULUS, frozen)) == want
    assert want["reference_lava"] == {"samples": 0, "skipped": "no samples asked for"}


def test_batches_come_one_by_one() -> None:
    def batches() -> Any:
        yield SAMPLES
        raise RuntimeError("asked for the second")

    some = iterate_batches(GRAPH, batches())
    assert next(some) is SAMPLES
    with pytest.raises(RuntimeError, match="asked for the second"):
        next(some)


@pytest.mark.parametrize(
    ("most", "own"), [(1, [2]), (2, [0, 2]), (3, [0, 1, 2]), (9, [0, 1, 2])]
)
def test_a_few_of_some_samples_are_spread(most: int, own: list[int]) -> None:
    x = torch.rand(5, 3, 4).round()
    few = Samples({"input": to_events(x)}, LABELS, "all").take(most)
    assert (few.n, few.ticks, few.drawn) == (len(own), 5, "all")
    assert np.array_equal(to_raster(few.inputs["input"]), x[:, own].numpy())
    assert few.targets.tolist() == LABELS[own].tolist()


@pytest.mark.parametrize(
    ("most", "chosen", "sizes", "drawn"),
    [
        (0, range(7), [3, 3, 1], "all of the split"),
        (7, range(7), [3, 3, 1], "all of the split"),
        (6, [0, 1, 2, 3, 4, 6], [3, 3], "spread at random over 7"),
        (4, [0, 2, 4, 6], [3, 1], "spread at random over 7"),
        (1, [5], [1], "spread at random over 7"),
    ],
)
def test_compared_samples_are_spread_over_the_whole_split(
    most: int, chosen: Sequence[int], sizes: list[int], drawn: str
) -> None:
    x, labels = torch.rand(2, 7, 3), torch.arange(7)

    def batches() -> Iterator[tuple[torch.Tensor, ...]]:
        yield from zip(x.split(3, 1), labels.split(3), labels.split(3), strict=True)

    found = list(draw_spread(batches, most))
    assert [len(batch.labels) for batch in found] == sizes
    assert torch.cat([batch.labels for batch in found]).tolist() == list(chosen)
    assert torch.equal(torch.cat([batch.x for batch in found], 1), x[:, list(chosen)])
    assert {batch.drawn for batch in found} == {drawn}


@given(total=st.integers(0, 300), most=st.integers(0, 300))
def test_each_equal_part_gives_one_sample(total: int, most: int) -> None:
    k = min(total, most)
    edges = [i * total // k for i in range(1, k)]
    assert np.searchsorted(edges, pick_spread(total, most), "right").tolist() == [*range(k)]


def test_samples_whose_classes_alternate_give_every_class() -> None:
    assert np.bincount(pick_spread(1000, 100) % 10, minlength=10).min() >= 3


def test_host_nodes_are_named_by_their_kind_and_work_beside_a_graph_is_not() -> None:
    graph = chain(
        input=Input(shape=(N,)),
        w1=Dense(weight=np.eye(N)),
        soft=Softmax(),
        w2=Dense(weight=np.ones((K, N))),
        out=LI(tau=0.02),
    )
    found = estimate_samples(graph, SAMPLES, ["loihi1"], beside={"encoder": 10})
    kinds = {part["node"]: part.get("kind") for part in found["host"]}
    assert kinds == {"encoder": None, "w1": "Dense", "soft": "Softmax"}
    shares = share_host(found)
    assert shares is not None
    events = found["loihi1"]["layers"]["w2"]["synaptic_events"]
    host = 10 + T * (N * N + 2 * N)
    assert shares.operations == host / (host + events)


def _make_judge(measure: Callable[[Any, Any], Mapping[str, float]]) -> Judge:
    return Judge(lambda outputs: (), measure)  # noqa: ARG005


RIGHT = _make_judge(
    lambda answers, labels: {"accuracy": float((answers == labels).double().mean())}
)


@pytest.mark.parametrize(("n", "block"), [(7, 1), (20, 1), (40, 2), (60, 3)])
def test_the_error_of_a_difference_of_means_is_that_of_blocks_of_neighbours(
    n: int, block: int
) -> None:
    rng = np.random.default_rng(n)
    labels = torch.from_numpy(rng.integers(0, 3, n))
    ours, theirs = (torch.from_numpy(rng.integers(0, 3, n)) for _ in range(2))
    each = (ours == labels).double() - (theirs == labels).double()
    blocks = each.reshape(-1, block).mean(1)
    want = float(blocks.std(correction=1)) / len(blocks) ** 0.5
    found = estimate_errors(RIGHT, ours, theirs, labels)
    assert found == {"accuracy": pytest.approx(want, rel=1e-12)}
    assert want > 0.01
    assert estimate_errors(RIGHT, ours, ours, labels) == {"accuracy": 0.0}


def test_pairs_of_answers_that_rise_together_have_a_small_error() -> None:
    labels = torch.arange(30) % 2
    hard = labels.clone()
    hard[::3] = 1 - hard[::3]  # both are wrong on the same samples
    other = hard.clone()
    other[1] = 1 - other[1]
    assert estimate_errors(RIGHT, hard, other, labels)["accuracy"] < 0.05


def test_a_metric_without_a_value_has_no_error() -> None:
    def measure(answers: Any, _: Any) -> dict[str, float]:
        return {
            "a": float(answers["x"].mean()),
            "b": math.nan if answers["x"].min() > 0 else 1.0,
        }

    ours = {"x": torch.tensor([0.0, 2.0, 5.0], dtype=torch.float64)}
    theirs = {"x": torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64)}
    found = estimate_errors(_make_judge(measure), ours, theirs, ())
    assert found == {"a": pytest.approx(np.std([0.0, 1.0, 4.0], ddof=1) / 3**0.5)}


def test_without_two_samples_or_without_a_value_on_fewer_there_is_no_error() -> None:
    one = torch.tensor([1])
    assert estimate_errors(RIGHT, one, one, one) == {}
    assert estimate_errors(NO_ANSWERS, (), (), ()) == {}

    def measure(answers: Any, _: Any) -> dict[str, float]:
        if len(answers) < 3:
            raise ValueError("needs three")
        return {"a": 1.0}

    three = torch.tensor([1, 2, 3])
    assert estimate_errors(_make_judge(measure), three, three, three) == {}
