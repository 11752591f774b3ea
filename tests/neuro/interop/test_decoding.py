"""How a module makes its answers: found as it is, or refused, never taken for another."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from neuro.base.seeds import seeded
from neuro.interop.decoding import (
    MAXIMUM,
    Decoding,
    DecodingError,
    find_answer,
    make_count,
    sum_ticks,
)
from neuro.interop.imported import RETURNED, ImportedNetwork, verify_import
from neuro.interop.neuron_reader import CaptureError

snn = pytest.importorskip("snntorch")

from neuro.interop.snntorch import import_module  # noqa: E402

TICKS = 9
NORM = {
    "running_mean": [1.0, 0.5, -2.0],
    "running_var": [4.0, 0.25, 1.0],
    "weight": [1.0, -3.0, 0.5],
    "bias": [0.25, 0.0, 1.0],
}
End = Callable[[Any, list[Tensor], list[Tensor]], Any]


class Answers(nn.Module):
    """Two populations of 5 and 3; ``end`` makes the answers of the second."""

    def __init__(self, end: End, factor: float = 1.0) -> None:
        super().__init__()
        with seeded(5):
            self.fc1, self.fc2, self.head = nn.Linear(4, 5), nn.Linear(5, 3), nn.Linear(3, 2)
        for layer in (self.fc1, self.fc2):
            layer.weight.data *= 4
        self.norm = nn.BatchNorm1d(3)
        for name, values in NORM.items():
            getattr(self.norm, name).data = torch.tensor(values)
        self.lif1 = snn.Leaky(beta=0.9)
        self.lif2 = snn.Leaky(beta=0.8, graded_spikes_factor=factor)
        self.end = end

    def forward(self, x: Tensor) -> Any:
        mem1 = mem2 = None
        spikes, membranes = [], []
        for x_t in x:
            spk1, mem1 = self.lif1(self.fc1(x_t), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
            membranes.append(mem2)
        return self.end(self, spikes, membranes)


def read(end: End, factor: float = 1.0) -> ImportedNetwork:
    """Return the import of a network whose answers are shown to be ours."""
    network = import_module(Answers(end, factor), (4,))
    rows = verify_import(network, ticks=TICKS, samples=3)
    assert all(row.agrees for row in rows)
    assert sum(row.spikes for row in rows if row.population == "lif2") > 20
    returned = [row for row in rows if row.population == RETURNED]
    assert len(returned) == 4  # one for each stimulus
    assert max(row.largest for row in returned) > 0.5
    return network


def find(network: ImportedNetwork, ticks: int = TICKS) -> Decoding:
    assert network.find_decoding is not None
    return network.find_decoding(ticks)


def at(*ticks: int, weights: tuple[float, ...] = ()) -> np.ndarray:
    """Return weights (T J) of 1, or these, at some ticks."""
    out = np.zeros((TICKS, 3))
    out[list(ticks)] = np.reshape(weights or [1.0] * len(ticks), (-1, 1))
    return out


def stack(_net: Any, spikes: list[Tensor], _mem: list[Tensor]) -> Tensor:
    return torch.stack(spikes)


def add_in_place(spikes: list[Tensor]) -> Tensor:
    total = torch.zeros_like(spikes[0])
    for spike in spikes:
        total.mul_(0.5)
        total += spike
    return total


def fill(spikes: list[Tensor]) -> Tensor:
    kept = torch.zeros(len(spikes), *spikes[0].shape)
    for t, spike in enumerate(spikes):
        kept[t] = spike
    return kept


def gate(_net: Any, spikes: list[Tensor], _mem: list[Tensor]) -> Tensor:
    return torch.stack([s for t, s in enumerate(spikes) if t >= 4])


@pytest.mark.parametrize(
    ("end", "weights", "told"),
    [
        (stack, at(*range(9)), "the sum of the output over all 9 ticks"),
        (lambda _n, s, _m: s, at(*range(9)), "the sum of the output over all 9 ticks"),
        (lambda _n, s, m: (s, m), at(*range(9)), "the sum of the output over all 9 ticks"),
        (
            lambda n, s, m: {"spikes": stack(n, s, m), "last": s[-1]},
            at(*range(9)),
            "the sum of the output over all 9 ticks",
        ),
        (
            lambda _n, s, _m: torch.stack(s).mean(0),
            at(*range(9), weights=(1 / 9,) * 9),
            "the sum of the output over all 9 ticks",
        ),
        (
            lambda _n, s, _m: torch.stack(s)[3:],
            at(*range(3, 9)),
            "the sum of the output over ticks 3 to 8",
        ),
        (gate, at(*range(4, 9)), "the sum of the output over ticks 4 to 8"),
        (
            lambda _n, s, _m: torch.stack(s[1:])[::3],
            at(1, 4, 7),
            "the sum of the output over 3 of the ticks 1 to 7",
        ),
        (
            lambda _n, s, _m: torch.stack(s[::-1]),
            at(*range(9)),
            "the sum of the output over all 9 ticks",
        ),
        (
            lambda _n, s, _m: torch.stack(s[::-1])[:3].sum(0),
            at(6, 7, 8),
            "the sum of the output over ticks 6 to 8",
        ),
        (
            lambda _n, s, _m: s[0] + s[1] + s[5],
            at(0, 1, 5),
            "the sum of the output over 3 of the ticks 0 to 5",
        ),
        (lambda _n, s, _m: s[-2], at(7), "the sum of the output over tick 7"),
        (
            lambda _n, s, _m: torch.stack([x.detach() for x in s]).sum(0).data,
            at(*range(9)),
            "the sum of the output over all 9 ticks",
        ),
        (
            lambda _n, s, _m: add_in_place(s),
            at(*range(9), weights=tuple(0.5 ** (8 - t) for t in range(9))),
            "a weighted sum of the output over all 9 ticks",
        ),
        (
            lambda _n, s, _m: fill(s).sum(0),
            at(*range(9)),
            "the sum of the output over all 9 ticks",
        ),
        (
            lambda _n, s, _m: -torch.stack(s).sum(0),
            -at(*range(9)),
            "a weighted sum of the output over all 9 ticks",
        ),
        (
            lambda _n, s, _m: torch.stack(s).sum(0) * torch.tensor([1.0, -2.0, 0.5]),
            at(*range(9)) * [1, -2, 0.5],
            "a weighted sum of the output over all 9 ticks",
        ),
        (
            lambda _n, s, _m: (
                torch.stack(s) * torch.tensor([0.5**t for t in range(len(s))])[:, None, None]
            ).sum(0),
            at(*range(9), weights=tuple(0.5**t for t in range(9))),
            "a weighted sum of the output over all 9 ticks",
        ),
    ],
)
def test_each_value_for_itself(end: End, weights: np.ndarray, told: str) -> None:
    found = find(read(end))
    np.testing.assert_allclose(found.weights, weights, rtol=1e-15)
    assert not found.bias.any()
    assert found.describe() == told
    assert found.is_plain == told.startswith("the sum")
    slices = np.unique(weights, axis=0)
    assert found.products == (0 if found.is_plain else np.count_nonzero(slices))


def test_the_ticks_are_those_of_the_run() -> None:
    network = read(lambda _n, s, _m: torch.stack(s)[-2:])
    for ticks in (6, 11):
        weights = np.zeros((ticks, 3))
        weights[-2:] = 1
        np.testing.assert_array_equal(find(network, ticks).weights, weights)


def permute(_net: Any, spikes: list[Tensor], _mem: list[Tensor]) -> Tensor:
    return torch.stack(spikes).sum(0)[:, [2, 0, 1]]


def vote(_net: Any, spikes: list[Tensor], _mem: list[Tensor]) -> Tensor:
    from spikingjelly.activation_based import layer

    three = torch.stack(spikes)
    votes: Tensor = layer.VotingLayer(2, step_mode="m")(three.repeat(1, 1, 2)).sum(0)
    return votes


MATRIX = {
    "permuted": (permute, [[0, 1, 0], [0, 0, 1], [1, 0, 0]], 1.0),
    "head": (lambda n, s, _m: n.head(torch.stack(s)[2:].sum(0)), None, 1.0),
    "pairs": (
        lambda _n, s, _m: torch.stack(s).sum(0)[:, :2] - torch.stack(s).sum(0)[:, 1:],
        [[1, 0], [-1, 1], [0, -1]],
        1.0,
    ),
}


@pytest.mark.parametrize("name", MATRIX)
def test_one_class_of_several_values(name: str) -> None:
    end, matrix, scale = MATRIX[name]
    found = find(read(end))
    net = Answers(end)
    wanted = net.head.weight.T.detach().double().numpy() if matrix is None else matrix
    first = 2 if matrix is None else 0
    assert not found.weights[:first].any()
    for tick in range(first, TICKS):
        np.testing.assert_allclose(found.weights[tick], scale * np.asarray(wanted))
    bias = net.head.bias.detach().double().numpy() if matrix is None else np.zeros(1)
    np.testing.assert_allclose(found.bias, np.broadcast_to(bias, found.bias.shape), rtol=1e-12)
    assert f", of 3 values to {len(found.bias)}" in found.describe()


def test_a_norm_behind_the_rate_is_part_of_the_decoding() -> None:
    def end(net: Any, spikes: list[Tensor], _mem: list[Tensor]) -> Tensor:
        scores: Tensor = net.head(net.norm(torch.stack(spikes)[2:].sum(0)))
        return scores

    network = import_module(Answers(end).train(), (4,))
    assert all(row.agrees for row in verify_import(network, ticks=TICKS, samples=3))
    found, net = find(network), Answers(end).double().eval()
    gain = np.array(NORM["weight"]) / np.sqrt(np.array(NORM["running_var"]) + 1e-5)
    weights = gain[:, None] * net.head.weight.T.detach().numpy()
    np.testing.assert_allclose(found.weights[2:], np.broadcast_to(weights, (7, 3, 2)))
    assert not found.weights[:2].any()
    zero = net.head(net.norm(torch.zeros(1, 3).double()))[0].detach().numpy()
    np.testing.assert_allclose(found.bias, zero, rtol=1e-7)


def test_a_step_that_is_no_sum_is_named() -> None:
    def end(net: Any, spikes: list[Tensor], _mem: list[Tensor]) -> Tensor:
        scores: Tensor = net.head(torch.stack(spikes).sum(0).relu())
        return scores

    with pytest.raises(CaptureError) as caught:
        import_module(Answers(end), (4,))
    behind, why = caught.value.problems
    assert "linear() takes what has no node" in behind or "head takes" in behind
    assert re.search(r"neither .* \(linear\(\) at \S+test_decoding.py:\d+\): Relu is no w", why)


def test_a_sum_of_spikes_that_are_rare_is_no_maximum() -> None:
    """In a run where no neuron spikes twice both give the same."""
    net = Answers(lambda _n, s, _m: torch.stack(s).sum(0))
    net.fc2.weight.data /= 8
    network = import_module(net, (4,))
    assert find(network).over_ticks == "sum"


def test_votes_are_a_decoding() -> None:
    pytest.importorskip("spikingjelly")
    found = find(read(vote))
    groups = np.array([[0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    for tick in range(TICKS):
        np.testing.assert_allclose(found.weights[tick], groups)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "argmax"])
def test_a_last_step_that_keeps_the_order_is_part_of_the_decoding(name: str) -> None:
    def end(_net: Any, spikes: list[Tensor], _mem: list[Tensor]) -> Tensor:
        scores = 0.5 * torch.stack(spikes)[1:].sum(0)[:, [1, 2, 0]]
        made: Tensor = getattr(torch, name)(scores, dim=1)
        return made

    network = import_module(Answers(end), (4,))
    rows = verify_import(network, ticks=TICKS, samples=3)
    assert all(row.agrees for row in rows)
    assert len([row for row in rows if row.population == RETURNED]) == 4
    found = find(network)
    assert found.final == name
    turned = np.array([[0, 0, 0.5], [0.5, 0, 0], [0, 0.5, 0]])
    np.testing.assert_array_equal(found.weights[1:], np.broadcast_to(turned, (8, 3, 3)))
    y = np.arange(TICKS * 2 * 3, dtype=float).reshape(TICKS, 2, 3) % 7
    scores = 0.5 * y[1:].sum(0)[:, [1, 2, 0]]
    np.testing.assert_array_equal(found.score(y), scores)
    wanted = {
        "softmax": np.exp(scores) / np.exp(scores).sum(1, keepdims=True),
        "log_softmax": scores - np.log(np.exp(scores).sum(1, keepdims=True)),
        "argmax": scores.argmax(1),
    }
    np.testing.assert_allclose(found.answer(y), wanted[name])


def test_the_highest_value_over_ticks_is_a_decoding() -> None:
    found = find(read(lambda _n, s, _m: torch.stack(s).amax(0), factor=2.5))
    assert found.over_ticks == MAXIMUM
    np.testing.assert_array_equal(found.weights, 2.5 * at(*range(9)))
    y = np.zeros((TICKS, 2, 3))
    y[4, 1, 2] = y[7, 1, 2] = y[0, 0, 1] = 1
    np.testing.assert_array_equal(found.score(y), [[0, 2.5, 0], [0, 0, 2.5]])
    assert found.describe() == "the highest value of each output over all 9 ticks"


def test_spikes_of_another_value_than_1_keep_it() -> None:
    found = find(read(lambda _n, s, _m: torch.stack(s)[:-1].sum(0), factor=-1.5))
    np.testing.assert_array_equal(found.weights, -1.5 * at(*range(8)))


def test_a_layer_that_is_read_in_every_tick_is_decoded_too() -> None:
    def end(net: Any, spikes: list[Tensor], _mem: list[Tensor]) -> Tensor:
        return torch.stack([net.head(s) for s in spikes])[4:].sum(0)

    network = read(end)
    assert network.graph.outputs == ("head_readout",)
    np.testing.assert_array_equal(find(network).weights, at(*range(4, 9))[:, :2])


@pytest.mark.parametrize(
    ("end", "where"),
    [
        (lambda _n, s, m: (m, s), ""),
        (lambda _n, s, _m: torch.stack(s).sum(0).tanh(), r" \(tanh\(\) at "),
        (lambda _n, s, _m: torch.stack(s).cumsum(0).argmax(0), r" \(argmax\(\) at "),
        (lambda _n, s, _m: torch.stack(s)[2:].amax(0), r" \(amax\(\) at "),
        (lambda _n, s, _m: torch.stack(s).sum(0).softmax(0), r" \(softmax\(\) at "),
        (lambda _n, s, _m: torch.stack(s).sum(0) * torch.stack(s).sum(0), " "),
        (lambda _n, s, _m: torch.stack(s).sum(0) - torch.stack(s).sum((0, 1)), " "),
        (lambda _n, s, _m: torch.stack(s).sum(0).sigmoid(), r" \(sigmoid\(\) at .*Sigmoid is"),
        (lambda _n, s, _m: torch.stack(s).sum(0) * torch.stack(s).sum().detach(), " "),
        (lambda _n, s, _m: torch.stack(s, 1), r" \(stack|"),
        (lambda _n, s, _m: torch.stack(s, 2), ""),
    ],
    ids=[
        *("mem first", "tanh", "first", "part", "batch", "square", "others", "sigmoid"),
        *("scale", "batch first", "ticks last"),
    ],
)
def test_what_no_decoding_holds_is_said(end: End, where: str) -> None:
    network = import_module(Answers(end), (4,))
    with pytest.raises(DecodingError, match="neither a weighted sum nor the maximum") as caught:
        find(network)
    assert network.choices["answers"].startswith("not decoded: what the module returns is nei")
    if where.startswith(r" \("):
        assert re.search(where, str(caught.value))
    rows = verify_import(network, ticks=TICKS, samples=2)
    assert all(row.agrees for row in rows)
    assert RETURNED not in {row.population for row in rows}


def test_a_difference_of_what_is_returned_is_found() -> None:
    network = read(stack)
    wrong = Decoding(weights=at(*range(1, 9)), bias=np.zeros(3), axis=1)
    rows = verify_import(replace(network, find_decoding=lambda _: wrong), TICKS, 3)
    returned = [row for row in rows if row.population == RETURNED]
    assert not all(row.agrees for row in returned)
    assert max(row.error for row in returned) == 1  # the spikes of tick 0


def test_scores_of_a_decoding_by_hand() -> None:
    y = np.zeros((2, 1, 2, 2))
    y[0, 0], y[1, 0] = [[1, 0], [0, 1]], [[0, 1], [0, 1]]
    weights = np.zeros((2, 4, 3))
    weights[0, 0], weights[1, 3], weights[1, 1] = (1, 2, 0), (0, 0, 4), (-1, 0, 0)
    decoding = Decoding(weights=weights, bias=np.array([0, 0, 0.5]))
    np.testing.assert_array_equal(decoding.score(y), [[0, 2, 4.5]])
    assert decoding.products == 4
    assert not decoding.is_plain
    with pytest.raises(ValueError, match=r"has 1 ticks of 4 values, .* of 2 ticks of 4;"):
        decoding.score(y[:1])
    with pytest.raises(ValueError, match=r"has 2 ticks of 2 values, .* of 2 ticks of 4;"):
        decoding.score(y[..., :1])
    count = make_count(2, 4)
    np.testing.assert_array_equal(count.score(y), [[1, 1, 0, 2]])
    assert (count.products, count.is_plain) == (0, True)
    nothing = Decoding(weights=np.zeros((2, 3)), bias=np.ones(3))
    assert nothing.describe() == "the output has no part in what the module returns"


def test_the_answer_is_the_first_of_what_is_returned() -> None:
    a, b = torch.ones(2, 3), torch.zeros(2, 3)
    assert find_answer((a, b)) is a
    assert find_answer({"one": b, "two": a}) is b
    assert find_answer([(a, 1), (b, 2)]).shape == (2, 2, 3)
    np.testing.assert_array_equal(find_answer([a, b])[1], b)
    for wrong in ([], (), {}, "text", [a, b[:1]], None):
        with pytest.raises(DecodingError, match="returns no tensor, or ticks of sever"):
            find_answer(wrong)
    x = torch.arange(24.0).reshape(2, 3, 2, 2)
    np.testing.assert_array_equal(sum_ticks(x, 1), (x[0] + x[1]).reshape(3, 4))
    np.testing.assert_array_equal(sum_ticks(x, 0), x.reshape(2, 12))


@pytest.mark.parametrize("as_list", [True, False])
def test_running_sums_are_put_out_by_their_neuron(as_list: bool) -> None:
    """A list of them once became a read-out of two ticks, which nothing was compared with."""

    def end(_net: Any, spikes: list[Tensor], _mem: list[Tensor]) -> Any:
        sums = [torch.stack(spikes[: t + 1]).sum(0) for t in range(len(spikes))]
        total, added = torch.zeros_like(spikes[0]), []
        for spike in spikes:
            total = total + spike
            added.append(total)
        return added if as_list else torch.stack(sums)

    network = import_module(Answers(end), (4,))
    assert network.graph.outputs == ("lif2",)
    assert all(edge.delay == 0 for edge in network.graph.edges)


def test_a_tuple_of_ticks_is_no_answer() -> None:
    network = import_module(Answers(lambda _n, s, _m: tuple(s)), (4,))
    assert "not decoded: the module returns a tuple of ticks" in network.choices["answers"]
    with pytest.raises(DecodingError, match="a tuple of ticks; return them as a list"):
        find(network)


def test_answers_that_tie_but_for_rounding_are_no_others() -> None:
    decoding = Decoding(weights=np.full((2, 3), 0.1), bias=np.array([0, 0, 1e-17]))
    y = np.zeros((2, 4, 3))
    y[0, 0] = [1, 1, 0]
    y[0, 1] = y[1, 1] = [1, 1, 1]
    y[1, 2] = [0, 0, 1]
    assert decoding.count_others(y, np.array([0, 0, 2, 0])) == 0
    assert decoding.count_others(y, np.array([1, 2, 2, 1])) == 0
    assert decoding.count_others(y, np.array([2, 1, 1, 2])) == 2
