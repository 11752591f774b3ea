"""Networks of snnTorch as their users write them, imported and compared in float64."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

from neuro.base.seeds import seeded
from neuro.graph import MaxPool2d
from neuro.interop.capture import CaptureError
from neuro.interop.imported import RETURNED, ImportedNetwork, verify_import
from neuro.neurons import ALIF, LI, DiscreteLIF

snn = pytest.importorskip("snntorch")

from snntorch import surrogate, utils  # noqa: E402

from neuro.interop.snntorch import import_module  # noqa: E402
from tasks.imported.tutorials.random_snntorch import draw_network  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:Inhibition is an unstable feature")


def import_equal(net: nn.Module, shape: tuple[int, ...], **how: Any) -> ImportedNetwork:
    """Return the import of a network that fires, after a comparison without any difference."""
    network = import_module(net, shape, **how)
    rows = verify_import(network, ticks=12, samples=2)
    assert {row.population for row in rows} <= {*network.graph.populations, RETURNED}
    assert sum(row.different for row in rows) == 0
    assert max(row.error for row in rows) < 1e-9
    assert sum(row.spikes for row in rows) > 20
    return network


def edges(network: ImportedNetwork) -> set[tuple[str, str, int]]:
    return {(e.source, e.target, e.delay) for e in network.graph.edges}


class Two(nn.Module):
    """Two populations of Leaky, states as locals; a test replaces its forward or its parts."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        with seeded(3):
            self.fc1, self.fc2 = nn.Linear(12, 14), nn.Linear(14, 6)
            self.back = nn.Linear(6, 14)
        for layer in (self.fc1, self.fc2):
            layer.weight.data *= 4
        self.lif1 = snn.Leaky(beta=0.9, **settings)
        self.lif2 = snn.Leaky(beta=0.8, threshold=0.5, **settings)

    def forward(self, x: Tensor) -> Tensor:
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        out = []
        for x_t in x:
            spk1, mem1 = self.lif1(self.fc1(x_t), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            out.append(spk2)
        return torch.stack(out)


class StaticImage(Two):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spk2_rec, mem2_rec = [], []
        for _step in range(25):
            spk1, mem1 = self.lif1(self.fc1(x), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spk2_rec.append(spk2)
            mem2_rec.append(mem2)
        return torch.stack(spk2_rec, dim=0), torch.stack(mem2_rec, dim=0)


def test_a_static_image_in_every_tick_as_tutorial_5() -> None:
    network = import_equal(StaticImage(), (12,))
    assert (network.static, network.ticks) == (True, 25)
    assert edges(network) == {
        ("input", "fc1", 0),
        ("fc1", "lif1", 0),
        ("lif1", "fc2", 0),
        ("fc2", "lif2", 0),
    }
    assert network.choices["lif2: mem"] == "returned by the module, not put out here"
    lif1 = network.graph.nodes["lif1"]
    assert isinstance(lif1, DiscreteLIF)
    beta = float(torch.tensor(0.9))  # of float32, as snnTorch keeps it
    assert (lif1.strict, float(lif1.decay)) == (True, beta)
    assert float(np.asarray(lif1.reset_by)) == pytest.approx(1 / beta, rel=1e-15)
    (row,) = (row for row in network.mapping if row.node == "lif1")
    told = 'snntorch.Leaky(beta=0.9, threshold=1, reset_mechanism="subtract")'
    assert row.source == told


def test_an_image_that_is_repeated_over_ticks() -> None:
    def repeated(self: Any, x: Tensor) -> Tensor:
        mem1 = mem2 = None
        out = []
        for x_t in x.unsqueeze(0).repeat(10, 1, 1):
            spk1, mem1 = self.lif1(self.fc1(x_t), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            out.append(spk2)
        return torch.stack(out)

    network = import_equal(replace_forward(repeated, graded_spikes_factor=0.5), (12,))
    assert (network.static, network.ticks) == (True, 10)
    assert network.choices["lif2: factor"] == "of the output, left out: a spike is 1"


def make_convolutional(*, pool_spikes: bool) -> nn.Module:
    spike_grad = surrogate.fast_sigmoid(slope=25)

    def leaky(**others: Any) -> nn.Module:
        cell: nn.Module = snn.Leaky(beta=0.5, spike_grad=spike_grad, init_hidden=True, **others)
        return cell

    def order(a: nn.Module, b: nn.Module) -> tuple[nn.Module, nn.Module]:
        return (b, a) if pool_spikes else (a, b)

    with seeded(0):
        net = nn.Sequential(
            nn.Conv2d(1, 3, 5),
            *order(nn.MaxPool2d(2), leaky()),
            nn.Conv2d(3, 4, 3),
            *order(nn.MaxPool2d(2), leaky()),
            nn.Flatten(),
            nn.Linear(16, 10),
            leaky(output=True),
        )
    for k in (0, 3, 7):
        net[k].weight.data *= 3
    return net


def forward_pass(net: nn.Module, data: Tensor) -> Tensor:
    utils.reset(net)
    spk_rec = []
    for step in range(data.size(0)):
        spk_out, _mem_out = net(data[step])
        spk_rec.append(spk_out)
    return torch.stack(spk_rec)


@pytest.mark.parametrize("run", [None, forward_pass])
def test_a_convolutional_network_of_hidden_states_as_tutorial_6(
    run: Callable[..., Any] | None,
) -> None:
    network = import_equal(make_convolutional(pool_spikes=False), (1, 16, 16), run=run)
    assert (network.static, network.ticks) == (False, None)
    assert isinstance(network.graph.nodes["1"], MaxPool2d)  # of currents: a host computes it
    assert network.graph.outputs == ("8",)


def test_a_maximum_of_spikes_is_a_neuron_that_fires_at_any() -> None:
    network = import_equal(make_convolutional(pool_spikes=True), (1, 16, 16))
    assert isinstance(network.graph.nodes["2_any"], ALIF)
    assert network.graph.hosts == ()


def test_an_import_leaves_the_module_and_other_networks_as_they_are() -> None:
    net, other = make_convolutional(pool_spikes=False).train(), snn.Leaky(0.5, init_hidden=True)
    net(torch.rand(2, 1, 16, 16))  # states that are part of a graph of gradients
    other(torch.ones(2, 3))
    state, kept = net[2].mem, other.mem
    import_module(net, (1, 16, 16), run=forward_pass)
    assert net[2].mem is state
    assert other.mem is kept
    assert net.training
    assert net[0].weight.dtype == torch.float32
    assert other in snn.SpikingNeuron.instances


class Settings(nn.Module):
    """One neuron of any class behind a layer, and a Leaky that reads it."""

    def __init__(self, neuron: nn.Module, n: int = 8) -> None:
        super().__init__()
        with seeded(1):
            self.fc, self.neuron = nn.Linear(6, n), neuron
            self.read, self.out = nn.Linear(n, 5), snn.Leaky(0.9)
        self.fc.weight.data *= 4
        self.read.weight.data *= 3

    def forward(self, x: Tensor) -> Tensor:
        states: tuple[Any, ...] = ()
        mem, out = None, []
        for x_t in x:
            spikes, *rest = self.neuron(self.fc(x_t), *states)
            own = isinstance(self.neuron, snn.RLeaky | snn.RSynaptic)
            states = (spikes, *rest) if own else tuple(rest)
            spk, mem = self.out(self.read(spikes), mem)
            out.append(spk)
        return torch.stack(out)


ARGUMENTS: dict[str, dict[str, Any]] = {
    "Leaky": {"beta": 0.9},
    "Synaptic": {"alpha": 0.8, "beta": 0.9},
    "Lapicque": {"beta": 0.9},
    "RLeaky": {"beta": 0.9, "linear_features": 8},
    "RSynaptic": {"alpha": 0.7, "beta": 0.8, "linear_features": 8},
}


@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
@pytest.mark.parametrize("kind", ARGUMENTS)
def test_every_class_and_reset_mechanism(kind: str, reset: str) -> None:
    with seeded(2):
        neuron = getattr(snn, kind)(reset_mechanism=reset, **ARGUMENTS[kind])
    network = import_equal(Settings(neuron), (6,))
    node = network.graph.nodes["neuron"]
    assert isinstance(node, DiscreteLIF)
    late = reset == "zero" and kind != "Leaky"
    assert node.refractory == (1e-3 if late else 0.0)
    if kind.startswith("R"):
        assert ("neuron", "neuron_recurrent", 1) in edges(network)
        assert ("neuron_recurrent", "neuron", 0) in edges(network)


@pytest.mark.parametrize("kind", ["Leaky", "Synaptic", "RLeaky"])
def test_an_immediate_reset_to_zero_is_a_hard_one(kind: str) -> None:
    arguments = {**ARGUMENTS[kind], "reset_mechanism": "zero", "reset_delay": False}
    with seeded(6):
        neuron = getattr(snn, kind)(**arguments)
    network = import_equal(Settings(neuron), (6,))
    node: Any = network.graph.nodes["neuron"]
    assert (str(node.reset), node.refractory) == ("hard", 0.0)
    (row,) = (row for row in network.mapping if row.node == "neuron")
    assert row.source.startswith(f"snntorch.{kind}(")
    assert row.source.endswith('reset_mechanism="zero", reset_delay=False)')


@pytest.mark.parametrize(
    "neuron",
    [
        lambda: snn.Leaky(torch.rand(8), threshold=torch.rand(8) + 0.2, learn_beta=True),
        lambda: snn.Leaky(1.7, learn_beta=True, learn_threshold=True),  # clamped to 1
        lambda: snn.Leaky(0.8, graded_spikes_factor=torch.rand(8) + 0.1),
        lambda: snn.RLeaky(0.9, all_to_all=False, V=torch.rand(8)),
        lambda: snn.RLeaky(0.9, all_to_all=False, V=-0.5, learn_recurrent=False),
        lambda: snn.Leaky(0.0, reset_mechanism="zero", surrogate_disable=True),
    ],
    ids=["vectors", "clamped", "graded", "one to one", "shared V", "no memory"],
)
def test_parameters_of_each_neuron(neuron: Callable[[], nn.Module]) -> None:
    with seeded(4):
        made = neuron()
    import_equal(Settings(made), (6,))


def test_a_recurrence_of_a_kernel() -> None:
    with seeded(5):
        net = nn.Sequential(
            nn.Conv2d(1, 3, 3),
            snn.RSynaptic(
                0.5, 0.8, conv2d_channels=3, kernel_size=3, init_hidden=True, threshold=0.3
            ),
        )
    import_equal(net, (1, 6, 6))


def replace_forward(forward: Callable[..., Any], **settings: Any) -> nn.Module:
    """Return a Two with another forward."""
    kind = type("Changed", (Two,), {"forward": forward})
    return kind(**settings)


def test_feedback_that_is_computed_late_has_its_bias_in_the_first_tick() -> None:
    def late(self: Any, x: Tensor) -> Tensor:
        mem1 = mem2 = None
        out, spk2 = [], torch.zeros(x.shape[1], 6)
        for x_t in x:
            spk1, mem1 = self.lif1(self.fc1(x_t) + self.back(spk2), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            out.append(spk2)
        return torch.stack(out)

    network = import_equal(replace_forward(late), (12,))
    assert {("lif2", "back", 1), ("back", "lif1", 0)} <= edges(network)


def test_feedback_that_is_handed_on_has_its_bias_from_the_second_tick() -> None:
    def early(self: Any, x: Tensor) -> Tensor:
        mem1 = mem2 = None
        out, back = [], 0
        for x_t in x:
            spk1, mem1 = self.lif1(self.fc1(x_t) + back, mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            back = self.back(spk2)
            out.append(spk2)
        return torch.stack(out)

    network = import_equal(replace_forward(early), (12,))
    assert {("lif2", "back", 0), ("back", "lif1", 1)} <= edges(network)


def test_a_stimulus_of_the_tick_before_is_an_edge_with_a_delay() -> None:
    def late(self: Any, x: Tensor) -> Tensor:
        mem1 = mem2 = None
        out, before = [], torch.zeros(x.shape[1], 12)
        for x_t in x:
            spk1, mem1 = self.lif1(self.fc1(before) + self.now(x_t), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            before = x_t
            out.append(spk2)
        return torch.stack(out)

    net: Any = replace_forward(late)
    with seeded(8):
        net.now = nn.Linear(12, 14, bias=False)
    network = import_equal(net, (12,))
    assert {("input", "fc1", 1), ("input", "now", 0)} <= edges(network)


def test_sums_and_joins_and_one_layer_in_two_places() -> None:
    def joined(self: Any, x: Tensor) -> list[Tensor]:
        mem1 = mem2 = mem3 = None
        out = []
        for t in range(x.size(0)):
            spk1, mem1 = self.lif1(self.fc1(x[t]), mem1)
            spk2, mem2 = self.lif2(self.same(self.same(spk1)) + spk1 * 0.5, mem2)
            both = torch.cat([spk1, spk2], dim=1)
            spk3, mem3 = self.lif3(self.fc3(both), mem3)
            out.append(spk3)
        return out

    net: Any = replace_forward(joined)
    with seeded(7):
        net.same, net.fc3, net.lif3 = nn.Linear(14, 14), nn.Linear(28, 4), snn.Leaky(0.5)
    net.fc3.weight.data *= 4
    network = import_equal(net, (12,))
    assert {n for n in network.graph.nodes if n.startswith("same")} == {"same", "same_2"}
    assert {("lif1", "cat", 0), ("lif2", "cat", 0)} <= edges(network)


def test_layers_of_all_ticks_and_norms_and_hooks_are_what_they_compute() -> None:
    def whole(self: Any, x: Tensor) -> Tensor:
        current = self.norm(self.fc1(self.drop(x).flatten(0, 1))).view(*x.shape[:2], -1)
        mem1 = mem2 = None
        out = torch.zeros(x.size(0), x.size(1), 6)
        for t in range(len(x)):
            spk1, mem1 = self.lif1(current[t] + 0.1, mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1.half().float()), mem2)
            out[t] = spk2
        return out.transpose(0, 1)

    net: Any = replace_forward(whole)
    net.norm, net.drop = nn.BatchNorm1d(14), nn.Dropout(0.5)
    net.norm.running_mean.copy_(torch.linspace(-1, 1, 14))
    net.norm.running_var.copy_(torch.linspace(0.5, 2, 14))
    net.fc2 = nn.utils.parametrizations.weight_norm(net.fc2)
    net.fc1.register_forward_hook(lambda _module, _inputs, y: y * 1.5)
    network = import_equal(net.train(), (12,))
    assert set(network.graph.nodes) == {"input", "fc1", "lif1", "fc2", "lif2"}


def test_a_membrane_that_never_resets_is_an_integrator() -> None:
    def membranes(self: Any, x: Tensor) -> Tensor:
        mem1 = mem2 = None
        out = []
        for x_t in x:
            spk1, mem1 = self.lif1(self.fc1(x_t), mem1)
            _, mem2 = self.lif2(self.fc2(spk1), mem2)
            out.append(mem2)
        return torch.stack(out).amax(0)

    net: Any = replace_forward(membranes)
    net.lif2 = snn.Leaky(torch.linspace(0, 1, 6), reset_mechanism="none")
    network = import_equal(net, (12,))
    assert isinstance(network.graph.nodes["lif2"], LI)
    told = "the highest value of each output over all 6 ticks"
    assert network.choices["answers"] == told


def read_membranes(neuron: nn.Module) -> nn.Module:
    """Return a network that returns the membranes of a neuron behind its second layer."""

    def forward(self: Any, x: Tensor) -> Tensor:
        mem1, states, out = None, list[Tensor](), []
        for x_t in x:
            spk1, mem1 = self.lif1(self.fc1(x_t), mem1)
            spk2, *rest = self.lif2(self.fc2(spk1), *states)
            states = [spk2, *rest] if isinstance(neuron, snn.RLeaky | snn.RSynaptic) else rest
            out.append(rest[-1])
        return torch.stack(out)

    net: Any = replace_forward(forward)
    net.lif2 = neuron
    return net  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("kind", "settings", "current"),
    [
        ("Synaptic", {"alpha": 0.6, "beta": 0.9}, True),
        ("Synaptic", {"alpha": torch.linspace(0, 1, 6), "beta": torch.linspace(1, 0, 6)}, True),
        (
            "Synaptic",
            {"alpha": 1.5, "beta": 0.7, "learn_alpha": True, "learn_beta": True},
            True,
        ),
        ("Synaptic", {"alpha": 0.0, "beta": 0.7}, False),
        ("Lapicque", {"R": 5.0, "C": 3.0, "time_step": 2.0}, False),
        ("Lapicque", {"R": 5, "C": 3, "time_step": 2}, False),  # in float32, as torch divides
        ("Lapicque", {"beta": 0.8, "R": 3.0}, False),
        ("Leaky", {"beta": torch.linspace(0, 1, 6), "learn_beta": True}, False),
    ],
)
def test_a_read_out_has_the_current_and_the_gain_of_its_class(
    kind: str, settings: dict[str, Any], current: bool
) -> None:
    neuron = getattr(snn, kind)(reset_mechanism="none", **settings)
    network = import_equal(read_membranes(neuron), (12,))
    populations = {"lif1", "lif2", "lif2_current"} if current else {"lif1", "lif2"}
    assert set(network.graph.populations) == populations
    (row,) = (row for row in network.mapping if row.node == "lif2")
    assert row.source.startswith(f"snntorch.{kind}(")


def test_a_read_out_of_a_hidden_state_has_its_current_too() -> None:
    with seeded(3):
        net = nn.Sequential(
            *(nn.Linear(12, 6), snn.Leaky(0.9, init_hidden=True), nn.Linear(6, 4)),
            snn.Synaptic(0.5, 0.8, reset_mechanism="none", init_hidden=True, output=True),
        )
    net[0].weight.data *= 4
    network = import_equal(net, (12,), run=lambda net, x: [net(x_t)[2] for x_t in x])
    assert network.graph.outputs == ("3",)


@pytest.mark.parametrize(
    ("neuron", "pattern"),
    [
        (lambda: snn.RLeaky(0.8, linear_features=6, reset_mechanism="none"), "lif2: .* mem"),
        (
            lambda: snn.RSynaptic(0.7, 0.8, linear_features=6, reset_mechanism="none"),
            "lif2: .* mem",
        ),
        (
            lambda: snn.Alpha(0.9, 0.8, reset_mechanism="none"),
            "lif2: Alpha has no node; its membrane is the difference of two currents",
        ),
        (
            lambda: snn.Lapicque(R=1.0, C=0.5, reset_mechanism="none"),
            r"lif2: a decay in a tick must be in \[0, 1\], got -1",
        ),
    ],
    ids=["RLeaky", "RSynaptic", "Alpha", "Lapicque"],
)
def test_a_read_out_without_a_node_is_refused_by_its_name(
    neuron: Callable[[], nn.Module], pattern: str
) -> None:
    with pytest.raises(CaptureError) as caught:
        import_module(read_membranes(neuron()), (12,))
    assert re.match(pattern, caught.value.problems[0])


def test_a_layer_at_the_end_is_read_out_in_every_tick() -> None:
    def read(self: Any, x: Tensor) -> Tensor:
        mem1, out = None, []
        for x_t in x:
            spk1, mem1 = self.lif1(self.fc1(x_t), mem1)
            out.append(self.fc2(spk1))
        return torch.stack(out)

    network = import_equal(replace_forward(read), (12,))
    assert network.graph.readouts == ("fc2_readout",)


def test_a_sum_that_begins_later_is_told_with_what_it_lacks() -> None:
    def skip(self: Any, x: Tensor) -> Tensor:
        mem1 = mem2 = None
        hidden, out = list[Tensor](), list[Tensor]()
        for t, x_t in enumerate(x):
            spk1, mem1 = self.lif1(self.fc1(x_t), mem1)
            hidden.append(spk1)
            late = spk1 if t < 2 else spk1 + hidden[t - 1]
            spk2, mem2 = self.lif2(self.fc2(late), mem2)
            out.append(spk2)
        return torch.stack(out)

    sums = (
        r"fc2 of lif1, where tick 5, the last, makes one expect fc2 of lif1 \+ lif1 \(1 ticks"
    )
    refuse(replace_forward(skip), HERE + "in tick 1 lif2 gets " + sums)


@pytest.mark.slow
def test_axes_of_samples_before_ticks_are_told_and_the_cure_imports() -> None:
    def samples_first(self: Any, x: Tensor) -> Tensor:
        mem1 = mem2 = None
        out = []
        for t in range(x.size(1)):
            spk1, mem1 = self.lif1(self.fc1(x[:, t]), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            out.append(spk2)
        return torch.stack(out, 1)

    net = replace_forward(samples_first)
    refuse(net, *[r"ran 2 ticks.*run=lambda net, x: net\(x.transpose\(0, 1\)\)"] * 2)
    network = import_module(net, (12,), run=lambda net, x: net(x.transpose(0, 1)))
    assert all(row.agrees for row in verify_import(network))


def test_a_compiled_module_has_the_names_of_the_plain_one() -> None:
    net = Two()
    compiled = import_module(torch.compile(net, backend="eager"), (12,))
    assert list(compiled.graph.nodes) == list(import_module(net, (12,)).graph.nodes)
    net.fc1 = torch.compile(net.fc1, backend="eager")
    assert "fc1" in import_equal(net, (12,)).graph.nodes


def refuse(net: nn.Module, *patterns: str, shape: tuple[int, ...] = (12,)) -> None:
    """Compare the problems of an import, one pattern each, in their order."""
    with pytest.raises(CaptureError) as caught:
        import_module(net, shape)
    problems = caught.value.problems
    assert len(problems) == len(patterns), problems
    for pattern, problem in zip(patterns, problems, strict=True):
        assert re.search(pattern, problem), problem


HERE = rf"{re.escape(Path(__file__).name)}:\d+: "


def change(current: Callable[[Any, Tensor, int], Tensor]) -> nn.Module:
    """Return a Two whose first neurons get something else."""

    def forward(self: Any, x: Tensor) -> Tensor:
        mem1 = mem2 = None
        out = []
        for t, x_t in enumerate(x):
            spk1, mem1 = self.lif1(current(self, x_t, t), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            out.append(spk2)
        return torch.stack(out)

    return replace_forward(forward)


@pytest.mark.parametrize(
    ("current", "pattern"),
    [
        (lambda s, x, _: s.fc1(x) if x.sum() > 0 else -s.fc1(x), HERE + r"bool\(\) reads"),
        (lambda s, x, _: s.fc1(x) * x.mean().item(), HERE + r"item\(\) reads"),
        (lambda s, x, _: F.layer_norm(s.fc1(x), (14,)), HERE + r"layer_norm\(\) .*lif1"),
        (lambda s, x, _: F.dropout(s.fc1(x)), HERE + r"dropout\(\) in training mode .*lif1"),
        (lambda s, x, _: s.fc1(x) + torch.randn(14), HERE + r"randn\(\) draws at random"),
        (lambda s, x, _: s.fc1(x) * s.fc1(x), HERE + r"mul\(\) of two values"),
        (
            lambda s, x, t: s.fc1(x) * (1 + t % 2),
            HERE + "in tick 0 lif1 gets 0.5 times fc1, where tick 5",
        ),
        (lambda s, x, _: s.fc1(x).roll(1, 1), HERE + r"roll\(\) has no node"),
        (lambda s, x, _: s.fc1(x).to(torch.int64).float(), HERE + r"to\(\) has no node"),
        (lambda s, x, _: s.fc1(x) * len(x.nonzero()), HERE + r"len\(\) reads"),
        (
            lambda s, x, _: torch.empty(2, 14).copy_(F.linear(x, s.fc1.weight[:1])),
            HERE + r"copy_\(\) has no node",
        ),
    ],
    ids=[
        "bool",
        "item",
        "norm",
        "dropout",
        "random",
        "product",
        "uneven",
        "roll",
        "int",
        "count",
        "spread",
    ],
)
def test_what_a_graph_cannot_hold_is_refused_with_its_line(
    current: Callable[[Any, Tensor, int], Tensor], pattern: str
) -> None:
    refuse(change(current), pattern)


@pytest.mark.parametrize(
    "pool",
    [
        nn.AvgPool2d(2, ceil_mode=True),
        nn.AvgPool2d(2, divisor_override=3),
        nn.AvgPool2d(3, 1, padding=1),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.MaxPool2d(2, dilation=2),
    ],
    ids=["ceil", "divisor", "padding", "ceil of a maximum", "dilation"],
)
def test_a_pool_with_more_than_a_kernel_and_a_stride_is_refused(pool: nn.Module) -> None:
    name = {nn.AvgPool2d: "avg_pool2d", nn.MaxPool2d: "max_pool2d"}[type(pool)]
    net = nn.Sequential(pool, snn.Leaky(0.5, init_hidden=True))
    refuse(net, rf"{name}\(\) with .*; use the plain one; it reaches 1", shape=(1, 5, 5))


def test_what_reaches_no_neuron_does_not_matter() -> None:
    def extra(self: Any, x: Tensor, t: int) -> Tensor:
        current: Tensor = self.fc1(x)
        F.gelu(current).sum()
        assert f"{t} {current.mean():.2f}"
        return current

    import_equal(change(extra), (12,))


def test_states_that_are_not_handed_on_are_refused() -> None:
    def anew(self: Any, x: Tensor) -> Tensor:
        mem1 = mem2 = None
        out = []
        for t, x_t in enumerate(x):
            mem1 = self.lif1.reset_mem() if t == 3 else mem1
            spk1, mem1 = self.lif1(self.fc1(x_t), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), None if mem2 is None else mem2 * 0.5)
            out.append(spk2)
        return torch.stack(out)

    late = r"lif2 \(Leaky\): its mem|lif2 \(Leaky\): in tick 1 its mem is not that"
    refuse(replace_forward(anew), HERE + r"lif1 \(Leaky\): in tick 3 its mem begins anew", late)


def test_a_neuron_that_is_called_twice_a_tick_is_refused() -> None:
    def twice(self: Any, x: Tensor) -> Tensor:
        mem1, out = None, []
        for x_t in x:
            spk1, mem1 = self.lif1(self.fc1(x_t), mem1)
            spk1, mem1 = self.lif1(self.fc1(x_t), mem1)
            out.append(self.lif2(self.fc2(spk1), torch.zeros(x.shape[1], 6))[0])
        return torch.stack(out)

    refuse(
        replace_forward(twice),
        HERE + r"lif2 \(Leaky\) is called 6 times while another neuron is called 12 times",
    )


def test_weights_behind_a_decoding_are_refused() -> None:
    def decode(self: Any, x: Tensor) -> Tensor:
        weights: Tensor = self.back(Two.forward(self, x).amax(0))
        return weights

    told = r"neither a weighted sum .* \(linear\(\) at \S+\): Amax is no weighted sum"
    refuse(replace_forward(decode), HERE + r"linear\(\) takes what has no node", told)


@pytest.mark.parametrize(
    ("settings", "pattern"),
    [
        ({"inhibition": True}, "lif1: inhibition=True"),
        ({"state_quant": lambda mem: mem}, "lif1: state_quant"),
        ({"reset_delay": False}, "lif1: reset_delay=False"),
        ({"graded_spikes_factor": 0.0}, "lif1: graded_spikes_factor 0"),
        ({"beta": 0.0}, "lif1: beta 0"),
        ({"threshold": -1.0}, "lif1: DiscreteLIF.threshold must be > rest"),
        ({"spike_grad": lambda z: z.clamp(0, 1)}, "lif1: spike_grad does not put out 1"),
    ],
    ids=["inhibition", "quantised", "immediate", "silent", "beta", "threshold", "surrogate"],
)
def test_settings_without_an_exact_counterpart_are_refused(
    settings: dict[str, Any], pattern: str
) -> None:
    net: Any = Two()
    net.lif1 = snn.Leaky(**{"beta": 0.9, **settings})
    refuse(net, pattern)


def test_classes_without_a_node_are_refused_all_at_once() -> None:
    net = nn.Sequential(snn.LeakyParallel(12, 14, beta=0.9), snn.LeakyParallel(14, 6, beta=0.9))
    refuse(net, "0: LeakyParallel has no node; its RNN rectifies", "1: LeakyParallel")
    mine: Any = Two()
    mine.lif2 = type("Mine", (snn.Leaky,), {})(0.9)
    refuse(mine, "lif2: Mine extends Leaky")


def test_a_module_that_cannot_run_says_where() -> None:
    told = r"RuntimeError: a layer takes 12 values, and gets 13 .*all ticks .*one tick a call"
    refuse(Two(), HERE + told, shape=(13,))


def test_a_static_source_refuses_a_stimulus_that_changes() -> None:
    network = import_module(StaticImage(), (12,))
    with pytest.raises(ValueError, match="one image in every tick"):
        network.run_source({"input": np.random.default_rng(0).random((25, 2, 12))})


@pytest.mark.slow
@settings(max_examples=8)
@given(seed=st.integers(0, 2**31))
def test_random_networks_have_the_same_spikes(seed: int) -> None:
    net, shape = draw_network(seed)
    network = import_module(net, shape)
    rows = verify_import(network, ticks=16, samples=2, seed=seed)
    assert all(row.agrees for row in rows), rows
