"""Networks of SpikingJelly, as its examples write them, and the Graphs that they become.

Every import runs beside SpikingJelly on random stimuli: no spike differs, and membranes,
currents and values only by rounding.
"""

import copy
import math
import operator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

from neuro.base.seeds import seeded
from neuro.graph import AvgPool2d, Conv2d, Edge
from neuro.interop.imported import RETURNED, STIMULI, ImportedNetwork, verify_import
from neuro.interop.neuron_reader import CaptureError
from neuro.interop.spikingjelly import import_module
from neuro.neurons import LI, DiscreteLIF

jelly = pytest.importorskip("spikingjelly.activation_based")
encoding = pytest.importorskip("spikingjelly.activation_based.encoding")
functional = pytest.importorskip("spikingjelly.activation_based.functional")
layer = pytest.importorskip("spikingjelly.activation_based.layer")
neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
surrogate = pytest.importorskip("spikingjelly.activation_based.surrogate")
from tasks.imported.tutorials.spikingjelly import CSNN, FullyConnected  # noqa: E402


def lif(**more: Any) -> Any:
    return neuron.LIFNode(
        **{"v_threshold": 0.25, "surrogate_function": surrogate.ATan(), **more}
    )


def make(*parts: nn.Module, mode: str = "m") -> nn.Module:
    net = nn.Sequential(*parts)
    functional.set_step_mode(net, mode)
    return net


def require_equal(network: ImportedNetwork, ticks: int = 24, spikes: int = 100) -> None:
    compared = verify_import(network, ticks=ticks, samples=2)
    assert {row.population for row in compared} >= {
        n for n in network.graph.firing if "any" not in n
    }
    assert sum(row.spikes for row in compared) > spikes
    for row in compared:
        assert row.different == 0
        assert row.error < 1e-9


def refuse(module: nn.Module, shape: tuple[int, ...] = (6,)) -> list[str]:
    with pytest.raises(CaptureError) as caught:
        import_module(module, shape)
    return caught.value.problems


class Rates(CSNN):
    """The network of ``conv_fashion_mnist`` as its page ends it: firing rates of T ticks."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).mean(0)


class TestTheExamples:
    def test_lif_fc_mnist(self) -> None:
        with seeded(0):
            network = import_module(FullyConnected(2.0), (1, 28, 28))
        scaled = FullyConnected(2.0)
        with torch.no_grad(), seeded(0):
            scaled.layer[1].weight.copy_(torch.randn(10, 784) / 4)
        require_equal(import_module(scaled, (1, 28, 28)), spikes=50)
        node = network.graph.nodes["layer_2"]
        assert isinstance(node, DiscreteLIF)
        assert (node.decay, node.gain, node.threshold, node.strict) == (0.5, 0.5, 1.0, False)
        assert str(node.reset) == "hard"
        (cell,) = (m for m in network.mapping if m.node == "layer_2")
        assert cell.source == "LIFNode(tau=2, decay_input=True, v_threshold=1, v_reset=0)"
        assert network.library == "spikingjelly 2.0.0"

    def test_conv_fashion_mnist(self) -> None:
        with seeded(0):
            net = Rates(ticks=6, channels=4)
            network = import_module(net, (1, 28, 28))
        require_equal(network)
        norms = [node for node in network.graph.nodes.values() if isinstance(node, Conv2d)]
        assert all(node.bias is not None for node in norms)  # batch norms, folded

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["sew_resnet", "spiking_resnet"])
    def test_residual_networks(self, name: str) -> None:
        zoo = pytest.importorskip(f"spikingjelly.activation_based.model.{name}")
        kind = {"sew_resnet": "SEWResNet", "spiking_resnet": "SpikingResNet"}[name]
        own = {"cnf": "ADD"} if name == "sew_resnet" else {}
        with seeded(0):
            net = getattr(zoo, kind)(
                zoo.BasicBlock,
                [1, 1, 1, 1],
                num_classes=10,
                spiking_neuron=neuron.IFNode,
                surrogate_function=surrogate.ATan(),
                **own,
            )
            functional.set_step_mode(net, "m")
            network = import_module(net, (3, 16, 16), ticks=3)
        require_equal(network, ticks=4)

    @pytest.mark.parametrize("cnf", ["AND", "IAND"])
    def test_products_of_spikes_are_refused(self, cnf: str) -> None:
        zoo = pytest.importorskip("spikingjelly.activation_based.model.sew_resnet")
        block = zoo.BasicBlock(2, 2, cnf=cnf, spiking_neuron=neuron.IFNode)
        net = make(
            layer.Conv2d(1, 2, 3), lif(), block, layer.Flatten(), layer.Linear(72, 4), lif()
        )
        (problem,) = refuse(net, (1, 8, 8))
        assert "mul() of two values that depend on the stimulus has no node" in problem

    def test_spiking_vgg11(self) -> None:
        zoo = pytest.importorskip("spikingjelly.activation_based.model.spiking_vgg")
        widths = [n if n == "M" else n // 32 for n in zoo.cfgs["A"]]
        features = zoo.SpikingVGG.make_layers(
            widths, batch_norm=True, neuron=neuron.IFNode, surrogate_function=surrogate.ATan()
        )
        with seeded(0):
            net = make(
                features,
                layer.AdaptiveAvgPool2d((7, 7)),
                layer.Flatten(),
                *(layer.Linear(16 * 7 * 7, 32), neuron.IFNode(), layer.Dropout()),
                layer.Linear(32, 10),
            )
            for part in net.modules():
                if isinstance(part, layer.BatchNorm2d):
                    nn.init.constant_(part.weight, 3.0)
        require_equal(import_module(net, (3, 32, 32)), ticks=8)

    @pytest.mark.parametrize("mode", ["s", "m"])
    def test_dvs_gesture_net_with_its_votes(self, mode: str) -> None:
        zoo = pytest.importorskip("spikingjelly.activation_based.model.parametric_lif_net")
        with seeded(0):
            net = zoo.DVSGestureNet(channels=2, spiking_neuron=neuron.IFNode)
            functional.set_step_mode(net, mode)
            for part in net.modules():
                if isinstance(part, layer.BatchNorm2d | layer.Linear):
                    part.weight.data *= 4
            network = import_module(net.train(), (2, 128, 128), ticks=3)
        (dense,) = (stimulus for stimulus in STIMULI if stimulus.rate == 0.5)
        rows = verify_import(network, ticks=3, samples=1, drawn=[dense])
        assert all(row.agrees for row in rows)
        fired = {row.population for row in rows if row.spikes > 10}
        assert fired == {f"conv_fc_{n}" for n in (2, 6, 10, 14, 18, 23, 26)}
        assert network.graph.outputs == ("conv_fc_26",)  # votes are of what it puts out
        assert network.classes == 11
        assert RETURNED in {row.population for row in rows}


def drawn(*sizes: int) -> Tensor:
    return torch.randn(*sizes)


NETWORKS = {
    "layers": lambda mode: (
        make(
            *(layer.Conv2d(1, 4, 3, padding=1), layer.BatchNorm2d(4), lif(v_reset=None)),
            *(layer.AvgPool2d(2), layer.Conv2d(4, 4, 3, groups=2), lif(), layer.MaxPool2d(2)),
            *(layer.Flatten(), layer.Linear(4, 20), layer.Dropout(0.5), lif(v_threshold=0.1)),
            layer.Linear(20, 8),
            mode=mode,
        ),
        (1, 8, 8),
    ),
    "delay": lambda mode: (
        make(
            *(layer.Linear(8, 9), lif(), layer.Delay(2)),
            *(layer.Linear(9, 8, bias=False), lif()),
            mode=mode,
        ),
        (8,),
    ),
    "recurrent": lambda mode: (
        make(
            layer.Linear(8, 9),
            layer.LinearRecurrentContainer(neuron.LIFNode(v_threshold=0.2), 9, 9),
            *(layer.Linear(9, 9), lif(v_threshold=0.1)),
            layer.ElementWiseRecurrentContainer(neuron.IFNode(v_threshold=3.0), operator.add),
            mode=mode,
        ),
        (8,),
    ),
    "standardised weights": lambda mode: (
        make(
            *(layer.WSConv2d(1, 4, 3), lif(v_threshold=0.2), layer.Flatten()),
            *(layer.WSLinear(144, 6), lif(v_threshold=0.2)),
            mode=mode,
        ),
        (1, 8, 8),
    ),
    "scalers of converted networks": lambda mode: (
        make(
            *(layer.Linear(8, 9), scaler(2.0), neuron.IFNode(v_reset=None), scaler(0.5)),
            *(layer.Linear(9, 9), scaler(2.0), neuron.IFNode(v_reset=None)),
            mode=mode,
        ),
        (8,),
    ),
}


def scaler(scale: float) -> nn.Module:
    modules = pytest.importorskip("spikingjelly.activation_based.ann2snn.modules")
    module: nn.Module = modules.VoltageScaler(scale)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["s", "m"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_runs_as_in_spikingjelly(name: str, mode: str) -> None:
    with seeded(0):
        net, shape = NETWORKS[name](mode)
        require_equal(import_module(net, shape), spikes=50)


def test_containers_fold_ticks_into_the_batch() -> None:
    with seeded(0):
        net = make(
            layer.SeqToANNContainer(nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4)),
            lif(),
            layer.SeqToANNContainer(nn.Flatten(), nn.Linear(144, 8)),
            layer.MultiStepContainer(neuron.LIFNode(v_threshold=0.1), nn.Linear(8, 8)),
            layer.StepModeContainer(True, "s", neuron.LIFNode(v_threshold=0.05)),
        )
        network = import_module(net, (1, 8, 8))
    require_equal(network)
    assert [*network.graph.nodes] == ["input", "1", "3_0", "4_0", "0_0", "2_1", "2_0", "3_1"]


def test_the_batch_norm_that_depends_on_the_threshold_is_folded() -> None:
    with seeded(0):
        norm = layer.ThresholdDependentBatchNorm2d(1.0, 0.5, 4)
        norm.running_mean.copy_(0.1 * torch.randn(4))
        norm.running_var.copy_(0.2 + torch.rand(4))
        network = import_module(make(layer.Conv2d(1, 4, 3), norm, lif()), (1, 8, 8))
    require_equal(network)
    assert [*network.graph.nodes] == ["input", "2", "0"]


class ReadOut(nn.Module):
    """Returns membranes of a node, of all ticks or of the tick that ran."""

    def __init__(self, node: Any, mode: str) -> None:
        super().__init__()
        self.front = make(
            layer.Linear(6, 8), lif(v_threshold=0.2), layer.Linear(8, 5), mode=mode
        )
        self.front[0].weight.data *= 4
        self.node = node
        functional.set_step_mode(node, mode)

    def forward(self, x: Tensor) -> Tensor:
        self.node(self.front(x))
        v: Tensor = self.node.v_seq if self.node.step_mode == "m" else self.node.v
        return v


READ_OUTS: dict[str, Any] = {
    "IF": lambda: neuron.IFNode(math.inf),
    "LIF": lambda: neuron.LIFNode(3.0, v_threshold=math.inf),
    "ParametricLIF": lambda: neuron.ParametricLIFNode(3.0, False, v_threshold=math.inf),
    "CUBALIF": lambda: neuron.CUBALIFNode(0.25, 0.75, math.inf),
}


@pytest.mark.parametrize("mode", ["s", "m"])
@pytest.mark.parametrize("name", READ_OUTS)
def test_a_node_with_an_infinite_threshold_is_a_read_out(name: str, mode: str) -> None:
    with seeded(0):
        node = READ_OUTS[name]()
        node.store_v_seq = True
        network = import_module(ReadOut(node, mode), (6,))
    require_equal(network)
    assert isinstance(network.graph.nodes["node"], LI)
    assert ("node_current" in network.graph.nodes) == (name == "CUBALIF")
    assert {row.population for row in verify_import(network, ticks=2)} >= {"node"}
    (row,) = (row for row in network.mapping if row.node == "node")
    assert row.source.startswith(f"{name}Node(")


@pytest.mark.parametrize(
    ("v_reset", "told"),
    [
        (None, "node: v_threshold is inf and v_reset is None: SpikingJelly subtracts 0 * inf"),
        (-0.5, "node: an LI of neuro rests at 0, and v_reset is -0.5; use v_reset=0.0"),
    ],
)
def test_a_read_out_that_does_not_integrate_from_0_is_refused(
    v_reset: float | None, told: str
) -> None:
    node = neuron.LIFNode(3.0, v_threshold=math.inf, v_reset=v_reset, store_v_seq=True)
    (problem,) = refuse(ReadOut(node, "s"))
    assert problem.startswith(told)


def test_a_sum_of_spikes_reaches_the_next_layer_with_its_value() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.sn = layer.Linear(6, 6), lif(v_threshold=0.05)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = x + self.sn(self.fc(x))
            return y

    with seeded(0):
        net = make(
            layer.Linear(6, 6), lif(v_threshold=0.05), Block(), layer.Linear(6, 4), lif()
        )
        network = import_module(net, (6,))
    require_equal(network)
    assert {Edge("1", "3"), Edge("2_sn", "3")} <= {*network.graph.edges}


def test_a_padded_maximum_of_spikes() -> None:
    with seeded(0):
        net = make(
            *(layer.Conv2d(1, 4, 3), lif(v_threshold=0.05), layer.MaxPool2d(3, 2, 1)),
            *(layer.Conv2d(4, 4, 3), lif(v_threshold=0.05)),
        )
        network = import_module(net, (1, 9, 9))
    require_equal(network)
    kinds = [type(node).__name__ for node in network.graph.nodes.values()]
    assert "MaxPool2d" not in kinds


def test_a_mean_of_the_whole_image() -> None:
    with seeded(0):
        head = (layer.AdaptiveAvgPool2d(1), layer.Flatten(), layer.Linear(4, 4))
        net = make(layer.Conv2d(1, 4, 3), lif(), *head, lif(v_threshold=0.1))
        network = import_module(net, (1, 8, 8))
    require_equal(network)
    (pool,) = (n for n in network.graph.nodes.values() if isinstance(n, AvgPool2d))
    assert (pool.kernel, pool.stride) == ((6, 6), (6, 6))


def test_the_module_stays_as_it_was() -> None:
    with seeded(0):
        net = make(layer.Linear(6, 6), lif())
        functional.reset_net(net)
        net(torch.rand(3, 2, 6))
    weight, v = net[0].weight.clone(), net[1].v.clone()
    import_module(net.train(), (6,))
    assert net.training
    assert net[0].weight.dtype == torch.float32
    assert torch.equal(net[0].weight, weight)
    assert torch.equal(net[1].v, v)
    assert not net[1].store_v_seq


@pytest.mark.slow
@settings(max_examples=4)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_random_network_runs_as_in_spikingjelly(seed: int) -> None:
    from tasks.imported.tutorials.random_spikingjelly import draw_spikingjelly

    with seeded(seed):
        net = draw_spikingjelly(np.random.default_rng(seed))
    network = import_module(net.module, net.input_shape)
    for row in verify_import(network, ticks=12, samples=1, seed=seed):
        assert row.different == 0
        assert row.error < 1e-9


class TestRefuses:
    def test_every_neuron_that_has_no_node_at_once(self) -> None:
        nodes = (
            *(neuron.QIFNode(), neuron.EIFNode(), neuron.IzhikevichNode(), neuron.KLIFNode()),
            *(neuron.PSN(6), neuron.IFNode()),
        )
        parts = [part for node in nodes for part in (layer.Linear(6, 6), node)]
        problems = refuse(make(*parts))
        assert [p.partition(";")[0] for p in problems][:5] == [
            "1: QIFNode has no node in a Graph: its membrane is quadratic",
            "3: EIFNode has no node in a Graph: its membrane rises exponentially near the "
            "threshold",
            "5: IzhikevichNode has no node in a Graph: its membrane is quadratic and adapts",
            "7: KLIFNode has no node in a Graph: a ReLU acts on its membrane",
            "9: PSN has no node in a Graph: it computes all ticks at once, none from its state "
            "a tick ago",
        ]
        assert all("use an IFNode, LIFNode" in p for p in problems[:5])

    def test_layers_with_a_state(self) -> None:
        parts = (layer.Linear(6, 6), lif(), layer.SynapseFilter(2.0), layer.Linear(6, 6), lif())
        (problem,) = refuse(make(*parts))
        assert problem.startswith("2: SynapseFilter has no node in a Graph: its decay depends")

    def test_an_encoder(self) -> None:
        (problem,) = refuse(nn.Sequential(encoding.PoissonEncoder(), nn.Linear(6, 6), lif()))
        assert problem.startswith("0: PoissonEncoder has no node in a Graph: it makes a stimul")

    def test_norms_that_change_from_tick_to_tick(self) -> None:
        norm = layer.TemporalEffectiveBatchNorm2d(6, 4)
        with torch.no_grad():
            norm.scale.copy_(torch.arange(1.0, 7))
        (problem,) = refuse(make(layer.Conv2d(1, 4, 3), norm, lif()), (1, 8, 8))
        assert problem.startswith("1: TemporalEffectiveBatchNorm2d has no node in a Graph")

    def test_integrators_that_decode(self) -> None:
        (problem,) = refuse(
            make(layer.Linear(6, 6), neuron.NonSpikingLIFNode(decode="max-mem"))
        )
        assert problem.startswith("1: NonSpikingLIFNode has no node in a Graph: it puts out a")

    def test_a_neuron_with_a_step_of_its_own(self) -> None:
        class Mine(neuron.LIFNode):  # type: ignore[misc, name-defined]
            def multi_step_forward(self, x_seq: Tensor) -> Tensor:
                y: Tensor = 2 * super().multi_step_forward(x_seq)
                return y

        (problem,) = refuse(make(layer.Linear(6, 6), Mine()))
        assert problem.startswith(
            "1: multi_step_forward of its own, in a class that extends LIF"
        )

    def test_all_wrong_parameters_at_once(self) -> None:
        late = neuron.LIFNode()
        late.v_reset = -0.5
        smooth = neuron.IFNode(surrogate_function=surrogate.Sigmoid(spiking=False))
        problems = refuse(make(layer.Linear(6, 6), late, layer.Linear(6, 6), smooth))
        assert [p.partition(" ")[0] for p in problems] == ["1:", "3:"]
        assert "v starts at 0 and decays towards -0.5" in problems[0]
        assert "surrogate_function Sigmoid does not emit 1 above" in problems[1]


def test_a_class_that_only_sets_parameters_is_read_as_what_it_extends() -> None:
    class Mine(neuron.LIFNode):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__(tau=4.0, v_threshold=0.2, v_reset=None)

    with seeded(0):
        network = import_module(make(layer.Linear(6, 6), Mine()), (6,))
    require_equal(network, spikes=20)
    node = copy.copy(network.graph.nodes["1"])
    assert isinstance(node, DiscreteLIF)
    assert (node.decay, node.gain) == (0.75, 0.25)
