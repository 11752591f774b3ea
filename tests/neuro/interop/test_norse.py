"""Networks of Norse, as its users write them, and the Graphs that they become.

Every import runs beside Norse on random stimuli: no spike differs, and membranes, currents and
values only by rounding.
"""

import copy
import re
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

from neuro.base.seeds import seeded
from neuro.graph import Dense, Edge
from neuro.interop.imported import ImportedNetwork, verify_import
from neuro.interop.neuron_reader import CaptureError
from neuro.interop.norse import import_module
from neuro.neurons import LI, DiscreteLIF

norse = pytest.importorskip("norse.torch")


def lif(**more: Any) -> Any:
    return norse.LIFParameters(**{"v_th": torch.as_tensor(0.2), **more})


def require_equal(network: ImportedNetwork, ticks: int = 24) -> None:
    compared = verify_import(network, ticks=ticks, samples=2)
    own = {name for name in network.graph.firing if "_any" not in name}
    assert {row.population for row in compared} >= own
    assert sum(row.spikes for row in compared) > 100
    for row in compared:
        assert row.different == 0
        assert row.error < 1e-9


def refuse(module: nn.Module, shape: tuple[int, ...] = (6,)) -> list[str]:
    with pytest.raises(CaptureError) as caught:
        import_module(module, shape)
    return caught.value.problems


class SNN(nn.Module):
    """The first network of Norse's tutorial on MNIST."""

    def __init__(self, input_features: int, hidden_features: int, output_features: int) -> None:
        super().__init__()
        p = norse.LIFParameters(alpha=torch.as_tensor(100), v_th=torch.as_tensor(0.5))
        self.l1 = norse.LIFRecurrentCell(input_features, hidden_features, p=p)
        self.input_features = input_features
        self.fc_out = nn.Linear(hidden_features, output_features, bias=False)
        self.out = norse.LICell()

    def forward(self, x: Tensor) -> Tensor:
        seq_length, _, _, _, _ = x.shape
        s1 = so = None
        voltages = []
        for ts in range(seq_length):
            z = x[ts, :, :, :].view(-1, self.input_features)
            z, s1 = self.l1(z, s1)
            z = self.fc_out(z)
            vo, so = self.out(z, so)
            voltages += [vo]
        return torch.stack(voltages)


class Model(nn.Module):
    """A network and its decoder, as in the same tutorial."""

    def __init__(self, snn: nn.Module) -> None:
        super().__init__()
        self.snn = snn

    def forward(self, x: Tensor) -> Tensor:
        m, _ = torch.max(self.snn(x), 0)
        return F.log_softmax(m, dim=1)


@pytest.fixture(scope="module")
def recurrent() -> ImportedNetwork:
    with seeded(0):
        return import_module(Model(SNN(64, 20, 10)), (1, 8, 8))


class TestTheNetworkOfTheTutorial:
    def test_runs_as_in_norse(self, recurrent: ImportedNetwork) -> None:
        require_equal(recurrent)

    def test_its_own_weights_become_nodes(self, recurrent: ImportedNetwork) -> None:
        graph = recurrent.graph
        assert [*graph.nodes] == [
            *("input", "snn_l1", "snn_out", "snn_l1_input", "snn_flatten"),
            *("snn_l1_recurrent", "snn_out_current", "snn_fc_out"),
        ]
        back = graph.nodes["snn_l1_recurrent"]
        assert isinstance(back, Dense)
        assert back.weight.dtype == np.float32
        assert not np.diag(back.weight).any()
        assert Edge("snn_l1", "snn_l1_recurrent", 1) in graph.edges
        neuron = graph.nodes["snn_l1"]
        assert isinstance(neuron, DiscreteLIF)
        assert (neuron.decay, neuron.decay_syn, neuron.threshold) == (0.9, 0.8, 0.5)
        assert neuron.strict
        assert str(neuron.reset) == "hard"

    def test_the_import_says_what_became_of_what(self, recurrent: ImportedNetwork) -> None:
        assert recurrent.library == "norse 1.1.0"
        (cell,) = (m for m in recurrent.mapping if m.node == "snn_l1")
        assert cell.source == (
            "LIFRecurrentCell(tau_mem_inv=100, tau_syn_inv=200, v_leak=0, v_th=0.5, v_reset=0, "
            "dt=0.001)"
        )
        told = "the highest value of each output over all 6 ticks"
        assert recurrent.choices["answers"] == told


@pytest.mark.slow
def test_the_convolutional_network_of_norse_runs_as_in_norse() -> None:
    with seeded(0):
        network = import_module(norse.ConvNet4(feature_size=16), (1, 16, 16))
    require_equal(network, ticks=12)


@pytest.mark.slow
def test_the_sequential_network_of_the_readme_runs_as_in_norse() -> None:
    with seeded(0):
        net = norse.SequentialState(
            nn.Conv2d(1, 4, 5, 1),
            norse.LIFCell(lif()),
            nn.MaxPool2d(2, 2),
            nn.Conv2d(4, 6, 3, 1),
            norse.LIFCell(lif()),
            nn.MaxPool2d(2, 2),
            nn.Flatten(),
            nn.Linear(6, 10),
            norse.LICell(),
        )
        network = import_module(net, (1, 12, 12))
    require_equal(network)
    assert network.graph.outputs == ("8",)
    assert isinstance(network.graph.nodes["8"], LI)


class Layers(nn.Module):
    """Modules over time."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(12, 16)
        self.lif = norse.LIF(lif())
        self.rec = norse.LIFRecurrent(16, 8, lif())
        self.ref = norse.LIFRefracRecurrent(8, 8, norse.LIFRefracParameters(lif()))
        self.fc2 = nn.Linear(8, 8)
        self.iaf = norse.IAF()
        self.fc3 = nn.Linear(8, 3)
        self.li = norse.LI()

    def forward(self, x: Tensor) -> Tensor:
        z, _ = self.lif(self.fc(x))
        z, _ = self.rec(z)
        z, _ = self.ref(z)
        z, _ = self.iaf(self.fc2(z))
        v: Tensor = self.li(self.fc3(z))[0]
        return v


def make_lifted() -> nn.Module:
    net: nn.Module = norse.SequentialState(
        norse.Lift(nn.Conv2d(1, 4, 3)),
        norse.Lift(nn.BatchNorm2d(4)),
        norse.LIF(lif()),
        norse.Lift(nn.MaxPool2d(2)),
        norse.Lift(nn.Flatten()),
        norse.Lift(nn.Linear(36, 5)),
        norse.LI(),
    )
    return net


def make_lifted_whole() -> nn.Module:
    cells = norse.SequentialState(
        nn.Linear(6, 9),
        norse.LIFBoxCell(norse.LIFBoxParameters(v_th=torch.as_tensor(0.05))),
        nn.Linear(9, 3),
    )
    net: nn.Module = norse.Lift(norse.SequentialState(cells, norse.LIBoxCell()))
    return net


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "shape"), [(Layers, (12,)), (make_lifted, (1, 8, 8)), (make_lifted_whole, (6,))]
)
def test_modules_over_time_run_as_in_norse(make: Any, shape: tuple[int, ...]) -> None:
    with seeded(0):
        require_equal(import_module(make(), shape))


def test_weights_that_are_no_parameters_are_read() -> None:
    with seeded(0):
        into, back = torch.randn(5, 6), torch.randn(5, 5)
        cell = norse.LIFRecurrentCell(
            6, 5, lif(), autapses=True, input_weights=into, recurrent_weights=back
        )
        network = import_module(norse.SequentialState(cell, nn.Linear(5, 2)), (6,))
    require_equal(network)
    node: Any = network.graph.nodes["0_recurrent"]
    assert np.array_equal(node.weight, back.numpy())


def test_the_tick_is_the_dt_of_the_cells() -> None:
    with seeded(0):
        net = norse.SequentialState(nn.Linear(6, 9), norse.LIFCell(lif(), dt=0.0005))
        network = import_module(net, (6,))
    assert network.graph.dt == 0.0005
    neuron: Any = network.graph.nodes["1"]
    assert (neuron.gain, neuron.decay_syn) == (0.05, 0.9)


def test_a_relu_of_spikes_is_left_out() -> None:
    class Rectified(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.cell = nn.Linear(6, 9), norse.LIFCell(lif())
            self.out = norse.LILinearCell(9, 3)

        def forward(self, x: Tensor) -> Tensor:
            s = so = None
            voltages = torch.zeros(len(x), x.shape[1], 3)
            for ts in range(len(x)):
                z, s = self.cell(self.fc(x[ts]), s)
                v, so = self.out(F.relu(z), so)
                voltages[ts, :, :] = v
            return voltages

    with seeded(0):
        network = import_module(Rectified(), (6,))
    require_equal(network)
    assert [*network.graph.nodes] == ["input", "cell", "out", "fc", "out_input", "out_current"]


def test_the_module_stays_as_it_was() -> None:
    with seeded(0):
        net = norse.SequentialState(nn.Linear(6, 9), norse.LIFCell(lif()), nn.Linear(9, 2))
    before = copy.deepcopy(net.state_dict())
    import_module(net.train(), (6,))
    assert net.training
    assert {k: v.dtype for k, v in net.state_dict().items()} == {
        k: v.dtype for k, v in before.items()
    }
    assert all(torch.equal(net.state_dict()[k], v) for k, v in before.items())
    assert net[1].p.v_th.dtype == torch.float32


@pytest.mark.slow
@settings(max_examples=4)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_random_network_runs_as_in_norse(seed: int) -> None:
    from tasks.imported.tutorials.random_norse import draw_norse

    with seeded(seed):
        net = draw_norse(np.random.default_rng(seed))
    network = import_module(net.module, net.input_shape)
    for row in verify_import(network, ticks=12, samples=1, seed=seed):
        assert row.different == 0
        assert row.error < 1e-9


class TestRefuses:
    def test_every_cell_that_has_no_node_at_once(self) -> None:
        cells = (
            *(norse.LSNNCell(), norse.LIFAdExCell(), norse.LIFExCell()),
            *(norse.IzhikevichCell(norse.tonic_spiking), norse.LIFCell()),
        )
        parts = [part for cell in cells for part in (nn.Linear(6, 6), cell)]
        problems = refuse(norse.SequentialState(*parts))
        assert [p.partition(";")[0] for p in problems] == [
            "1: LSNNCell has no node in a Graph: its threshold adapts and it has a current, "
            "and no neuron here has both",
            "3: LIFAdExCell has no node in a Graph: its membrane rises exponentially near the "
            "threshold, and adapts",
            "5: LIFExCell has no node in a Graph: its membrane rises exponentially near the "
            "threshold",
            "7: IzhikevichCell has no node in a Graph: its membrane is quadratic",
        ]
        assert all("use LIFCell" in p for p in problems)

    def test_an_encoder(self) -> None:
        """What follows from it is not told; what is unsupported behind it is."""
        parts = (norse.PoissonEncoder(10), nn.LayerNorm(6), norse.LIF(), Take())
        problem, other = refuse(nn.Sequential(*parts))
        assert problem == (
            "0: PoissonEncoder has no node in a Graph: it makes a stimulus; move it out of the "
            "module and give its output as the stimulus"
        )
        assert (
            "layer_norm() has no node in a Graph (its scale depends on the sample); use"
            in other
        )

    def test_cells_of_different_dt(self) -> None:
        net = norse.SequentialState(
            nn.Linear(6, 6), norse.LIFCell(dt=0.001), norse.LIFCell(dt=0.002)
        )
        assert refuse(net) == ["cells have different dt, 0.001, 0.002 s; give all the same"]

    def test_a_cell_with_a_step_of_its_own(self) -> None:
        class Mine(norse.LIFCell):  # type: ignore[misc, name-defined]
            def forward(self, input_tensor: Tensor, state: Any = None) -> Any:
                z, state = super().forward(input_tensor, state)
                return 2 * z, state

        (problem,) = refuse(norse.SequentialState(nn.Linear(6, 6), Mine()))
        assert problem.startswith("1: forward of its own, in a class that extends LIFCell")

    def test_states_that_begin_anew(self) -> None:
        class Forgetful(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.fc, self.cell = nn.Linear(6, 6), norse.LIFCell()

            def forward(self, x: Tensor) -> Tensor:
                return torch.stack([self.cell(self.fc(x_t))[0] for x_t in x])

        (problem,) = refuse(Forgetful())
        assert re.match(
            r".*test_norse.py:\d+: cell \(LIFCell\): in tick 1 its v begins", problem
        )

    def test_a_membrane_that_reaches_a_layer(self) -> None:
        class Leaking(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.fc, self.cell = nn.Linear(6, 6), norse.LIFCell()
                self.out = norse.LICell()

            def forward(self, x: Tensor) -> Tensor:
                s = so = None
                out = []
                for x_t in x:
                    _, s = self.cell(self.fc(x_t), s)
                    v, so = self.out(s.v, so)
                    out.append(v)
                return torch.stack(out)

        (problem,) = refuse(Leaking())
        assert problem.startswith(
            "cell: its v reaches another layer, and the node puts out out"
        )


class Take(nn.Module):
    """The spikes of a module over time."""

    def forward(self, x: Any) -> Tensor:
        out: Tensor = x[0]
        return out
