"""What a capture must not take for a network: every case here once gave other numbers."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuro.base.seeds import seeded
from neuro.interop.capture import CaptureError
from neuro.interop.decoding import DecodingError
from neuro.interop.imported import ImportedNetwork, run_clock, verify_import

snn = pytest.importorskip("snntorch")
spikegen = pytest.importorskip("snntorch.spikegen")

from neuro.interop.snntorch import import_module  # noqa: E402

SHAPE = (4,)
Change = Callable[[Any, Tensor, int], Tensor]


class Loop(nn.Module):
    """Two populations; a test changes what the second gets, and what is returned."""

    def __init__(self, between: Change, end: Callable[[Any, list[Tensor]], Any]) -> None:
        super().__init__()
        with seeded(1):
            self.fc1, self.fc2, self.fc3 = nn.Linear(4, 5), nn.Linear(5, 3), nn.Linear(3, 2)
        for layer in (self.fc1, self.fc2):
            layer.weight.data *= 4
        self.lif1, self.lif2 = snn.Leaky(beta=0.9), snn.Leaky(beta=0.8)
        self.between, self.end = between, end

    def forward(self, x: Tensor) -> Any:
        mem1 = mem2 = None
        self.ticks, self.samples = x.shape[:2]
        self.sum: Any = 0
        self.kept = torch.ones(self.ticks + 1, self.samples, 5)
        out = []
        for t, x_t in enumerate(x):
            spk1, mem1 = self.lif1(self.fc1(x_t), mem1)
            spk2, mem2 = self.lif2(self.fc2(self.between(self, spk1, t)), mem2)
            out.append(spk2)
        return self.end(self, out)


def keep(_net: Any, spikes: Tensor, _t: int) -> Tensor:
    return spikes


def draw_factor(net: Any, spikes: Tensor, t: int) -> Tensor:
    net.factor = net.factor if t else float(np.random.default_rng().random())
    product: Tensor = spikes * net.factor
    return product


def decay_weight(net: Any, spikes: Tensor, _t: int) -> Tensor:
    net.fc2.weight.data.mul_(0.9)  # which its version does not count
    return spikes


def add_up(net: Any, spikes: Tensor, _t: int) -> Tensor:
    net.sum = net.sum + spikes
    total: Tensor = net.sum
    return total


def filter_spikes(net: Any, spikes: Tensor, _t: int) -> Tensor:
    net.sum = net.sum * 0.9 + spikes
    total: Tensor = net.sum
    return total


def take_next(net: Any, spikes: Tensor, t: int) -> Tensor:
    net.kept[t] = spikes
    total: Tensor = net.kept[t] + net.kept[t + 1]  # ones, so far
    return total


def stack(_net: Any, out: list[Tensor]) -> Tensor:
    return torch.stack(out)


def run(network: ImportedNetwork) -> np.ndarray:
    """Return the one read-out (T B K) under spikes."""
    (name,) = network.graph.readouts
    x = (np.random.default_rng(0).random((20, 3, *SHAPE)) < 0.5).astype(float)
    activity = run_clock(network.graph, {"input": x}).outputs
    spikes = activity["lif2"]
    assert spikes.sum() > 20
    weight, bias = (
        np.asarray(getattr(network.graph.nodes["fc3"], n)) for n in ("weight", "bias")
    )
    np.testing.assert_allclose(activity[name], spikes @ weight.T + bias, atol=1e-12)
    return activity[name]


@pytest.mark.parametrize(
    ("between", "pattern"),
    [
        (lambda net, s, _: s * (8 / net.ticks), "scale: in a second run"),
        (lambda net, s, _: s * (4 / net.samples), "scale: in a second run"),
        (draw_factor, "scale: in a second run"),
        (decay_weight, r"in tick 0 lif2 gets 1\.694 times fc2, where tick 5"),
        (add_up, r"fc2: in a second run, of another number of ticks .*keep sums"),
        (filter_spikes, "in a second run, of another number of ticks .*keep sums"),
        (take_next, "lif2: begins with, or takes, a constant that is not 0"),
    ],
    ids=["ticks", "samples", "numpy", "data", "sum", "trace", "ones"],
)
def test_what_changes_with_ticks_and_samples_is_refused(between: Change, pattern: str) -> None:
    with pytest.raises(CaptureError) as caught:
        import_module(Loop(between, stack), SHAPE)
    (problem,) = caught.value.problems
    assert re.search(pattern, problem), problem


MOVE = "move it out of the module and give its output as the stimulus"


def list_problems(encode: Any, between: Change) -> list[str]:
    """Return what is refused of a network that codes its image, without lines of code."""

    class Tutorial(Loop):
        def forward(self, x: Tensor) -> Any:
            return super().forward(encode(x))

    with pytest.raises(CaptureError) as caught:
        import_module(Tutorial(between, stack), SHAPE)
    return [
        p.partition(": ")[2].removesuffix("; it reaches lif2") for p in caught.value.problems
    ]


def test_an_encoder_in_forward_is_one_problem() -> None:
    for name, more in (("rate", {}), ("latency", {"normalize": True, "linear": True})):
        encode = partial(getattr(spikegen, name), num_steps=9, **more)
        (told,) = list_problems(encode, keep)
        assert told == f"spikegen.{name}() codes values as spikes in forward; {MOVE}"


def test_all_unsupported_operations_are_named_each_with_its_cure() -> None:
    gru, none = nn.GRU(5, 5), "has no node in a Graph"

    def change(_net: Any, spikes: Tensor, _t: int) -> Tensor:
        random = F.gelu(F.layer_norm(spikes, (5,))) * (torch.rand_like(spikes) < 0.5)
        y: Tensor = gru(random[None])[0][0]
        return y.roll(1, 1).tanh()

    first, *told = list_problems(partial(spikegen.rate, num_steps=9), change)
    assert first.startswith("spikegen.rate() codes")
    assert sorted(told) == [
        f"gelu() {none}; use relu, sigmoid, tanh or silu, and train with it",
        f"gru() {none} (recurrent, without spikes); use a recurrent spiking neuron, or {MOVE}",
        f"layer_norm() {none} (its scale depends on the sample); use BatchNorm1d or "
        "BatchNorm2d, and train with it",
        f"rand_like() draws at random, and a Graph does not; {MOVE}",
        f"roll() {none}; use linear, convolution, pooling or pointwise layers, or {MOVE}",
    ]


def test_a_module_that_runs_a_part_of_its_ticks_is_refused() -> None:
    class Half(Loop):
        def forward(self, x: Tensor) -> Any:
            return super().forward(x[: len(x) // 2])

    with pytest.raises(CaptureError, match="of 3 ticks the module runs 1; let it run all"):
        import_module(Half(keep, stack), SHAPE)


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (lambda net, out: sum(net.fc3(s) for s in out), "the sum of the output over all 6"),
        (
            lambda net, out: sum((net.fc3(s) for s in out), torch.zeros(2)) / len(out),
            "the sum of the output over all 6 ticks",
        ),
        (
            lambda net, out: torch.stack(
                [sum(net.fc3(s) for s in out[: t + 1]) for t in range(len(out))]
            ),
            "not decoded: what the module returns is neither a weighted sum nor the maximum",
        ),
        (
            lambda net, out: torch.softmax(sum(net.fc3(s) for s in out), 1),
            "the sum of the output over all 6 ticks",
        ),
        (lambda net, out: net.fc3(out[-1]), "the sum of the output over tick 5"),
    ],
    ids=["sum", "mean", "running", "softmax", "last"],
)
def test_a_sum_of_the_output_over_ticks_is_a_decoding(end: Any, told: str) -> None:
    network = import_module(Loop(keep, end), SHAPE)
    assert network.choices["answers"].startswith(told)
    assert all(edge.delay == 0 for edge in network.graph.edges)
    assert run(network).shape == (20, 3, 2)


@pytest.mark.slow
def test_spikes_that_a_module_adds_up_are_put_out_by_their_neuron() -> None:
    network = import_module(Loop(keep, lambda _, out: sum(out) / len(out)), SHAPE)
    assert network.graph.outputs == ("lif2",)
    assert all(row.agrees for row in verify_import(network))


@pytest.mark.parametrize(
    ("end", "pattern"),
    [
        (
            lambda net, out: net.fc3(sum(out)).relu() @ torch.ones(2, 2),
            "fc3 takes a sum over several ticks",
        ),
        (
            lambda net, out: torch.stack([net.fc3(s) * (t + 1) for t, s in enumerate(out)]),
            "returns of tick 0, fc3, has other weights",
        ),
        (
            lambda net, out: sum(net.fc3(s) * 0.9**t for t, s in enumerate(out)),
            "returns of tick 0, fc3, has other weights",
        ),
    ],
    ids=["behind", "scaled", "weighted sum"],
)
def test_read_outs_that_differ_from_tick_to_tick_are_refused(end: Any, pattern: str) -> None:
    with pytest.raises(CaptureError, match=pattern):
        import_module(Loop(keep, end), SHAPE)


def test_every_output_of_a_tick_is_followed() -> None:
    class Heads(Loop):
        fc4: Any
        lif3: Any

        def forward(self, x: Tensor) -> Tensor:
            mem1 = mem2 = mem3 = None
            out = []
            for x_t in x:
                spk1, mem1 = self.lif1(self.fc1(x_t), mem1)
                spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
                spk3, mem3 = self.lif3(self.fc4(spk1), mem3)
                out.append(torch.stack([spk2, spk3]))
            return torch.stack(out)

    net: Any = Heads(keep, stack)
    with seeded(2):
        net.fc4, net.lif3 = nn.Linear(5, 3), snn.Leaky(beta=0.5)
    assert set(import_module(net, SHAPE).graph.outputs) == {"lif2", "lif3"}


def test_a_loop_of_very_many_ticks_is_refused_before_it_has_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("neuro.interop.recording.MOST_RECORDED", 7)
    monkeypatch.setattr("neuro.interop.capture.MOST_RECORDED", 7)

    class Shown(nn.Module):
        def __init__(self, ticks: int) -> None:
            super().__init__()
            self.fc, self.lif, self.ticks, self.ran = nn.Linear(4, 3), snn.Leaky(0.5), ticks, 0

        def forward(self, x: Tensor) -> Tensor:
            mem, out = None, []
            for _ in range(self.ticks):
                spk, mem = self.lif(self.fc(x), mem)
                out.append(spk)
            return torch.stack(out)

    network = import_module(Shown(7), SHAPE)
    assert network.ticks == 7
    with pytest.raises(CaptureError, match="lif runs more than 7 ticks, which an import"):
        import_module(Shown(8), SHAPE)
    network = import_module(Loop(keep, stack), SHAPE)
    assert network.find_decoding is not None
    assert network.find_decoding(7).weights.shape == (7, 3)
    assert network.find_decoding(3).weights.shape == (3, 3)
    for ticks in (2, 8):
        told = rf"a run of {ticks} ticks is not recorded.* of 3 to 7 ticks"
        with pytest.raises(DecodingError, match=told):
            network.find_decoding(ticks)


@pytest.mark.parametrize("ticks", [0, 2, 4097, 10**9])
def test_a_number_of_ticks_that_is_not_recorded_is_refused(ticks: int) -> None:
    told = rf"ticks is {ticks}; it must be from 3 to 4,096\. Use --set ticks=64, or ticks=64 in"
    with pytest.raises(CaptureError, match=told):
        import_module(Loop(keep, stack), SHAPE, ticks=ticks)


@pytest.mark.slow
def test_a_module_may_leave_out_more_ticks_than_are_recorded_at_first() -> None:
    network = import_module(Loop(keep, lambda _, out: torch.stack(out)[20:]), SHAPE)
    assert network.find_decoding is not None
    weights = np.repeat([0.0, 1.0], [20, 3])[:, None].repeat(3, 1)
    np.testing.assert_array_equal(network.find_decoding(23).weights, weights)
    with pytest.raises(CaptureError, match=r"of 64 ticks; .*, or record more .* ticks=200"):
        import_module(Loop(keep, lambda _, out: torch.stack(out)[90:]), SHAPE)
    import_module(Loop(keep, lambda _, out: torch.stack(out)[90:]), SHAPE, ticks=92)


def test_the_bits_of_a_value_are_no_value() -> None:
    def change(_net: Any, spikes: Tensor, _t: int) -> Tensor:
        return spikes.view(torch.int32).view(torch.float32)

    told = r"test_capture\.py:\d+: view\(\) reads the bits of a value as torch.int32; .* lif2"
    with pytest.raises(CaptureError, match=told):
        import_module(Loop(change, stack), SHAPE)


def test_spikes_that_are_written_in_place_are_followed() -> None:
    """Gradients end at spikes, and torch refuses to write there while it computes them."""

    def double(_net: Any, spikes: Tensor, _t: int) -> Tensor:
        spikes *= 2
        return spikes

    network = import_module(Loop(double, stack), SHAPE)
    rows = verify_import(network, ticks=16)
    assert all(row.agrees for row in rows)
    assert sum(row.spikes for row in rows if row.population == "lif2") > 20


def test_a_stimulus_of_another_width_is_refused_once_with_both_widths() -> None:
    with pytest.raises(CaptureError) as refused:
        import_module(Loop(keep, lambda _, out: torch.stack(out)), (7,))
    (told,) = refused.value.problems
    assert "a layer takes 4 values, and gets 7 (the stimulus: (7,) per tick)" in told
    assert told.count("all ticks at once") == told.count("one tick a call") == 1
