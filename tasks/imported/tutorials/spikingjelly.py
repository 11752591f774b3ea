"""Networks of SpikingJelly's examples, with the code of their authors."""

import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from spikingjelly.activation_based.model import sew_resnet
from torch import Tensor, nn

from tasks.imported.tutorials.tutorial import Tutorial

PAGE = (
    "https://github.com/fangwei123456/spikingjelly/blob/master/spikingjelly/"
    "activation_based/{}.py"
)


class FullyConnected(nn.Module):
    """``lif_fc_mnist``: one tick per call, states inside the modules."""

    def __init__(self, tau: float = 2.0) -> None:
        super().__init__()
        self.layer = nn.Sequential(
            layer.Flatten(),
            layer.Linear(28 * 28, 10, bias=False),
            neuron.LIFNode(tau=tau, surrogate_function=surrogate.ATan()),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the spikes of one tick, B 10."""
        y: Tensor = self.layer(x)
        return y


class CSNN(nn.Module):
    """``conv_fashion_mnist``: one call for all T ticks of an image; here returns all spikes."""

    def __init__(self, ticks: int = 4, channels: int = 128) -> None:
        super().__init__()
        self.T = ticks
        self.conv_fc = nn.Sequential(
            layer.Conv2d(1, channels, kernel_size=3, padding=1, bias=False),
            layer.BatchNorm2d(channels),
            neuron.IFNode(surrogate_function=surrogate.ATan()),
            layer.MaxPool2d(2, 2),  # 14 * 14
            layer.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False),
            layer.BatchNorm2d(channels),
            neuron.IFNode(surrogate_function=surrogate.ATan()),
            layer.MaxPool2d(2, 2),  # 7 * 7
            layer.Flatten(),
            layer.Linear(channels * 7 * 7, channels * 4 * 4, bias=False),
            neuron.IFNode(surrogate_function=surrogate.ATan()),
            layer.Linear(channels * 4 * 4, 10, bias=False),
            neuron.IFNode(surrogate_function=surrogate.ATan()),
        )
        functional.set_step_mode(self, step_mode="m")

    def forward(self, x: Tensor) -> Tensor:
        """Return spikes, T B 10."""
        # x.shape = [N, C, H, W]
        x_seq = x.unsqueeze(0).repeat(self.T, 1, 1, 1, 1)  # [T, N, C, H, W]
        y: Tensor = self.conv_fc(x_seq)
        return y


def make_sew_resnet18() -> nn.Module:
    """Return SEW-ResNet-18 for ten classes, which computes all ticks in one call."""
    net: nn.Module = sew_resnet.sew_resnet18(
        pretrained=False,
        cnf="ADD",
        spiking_neuron=neuron.IFNode,
        surrogate_function=surrogate.ATan(),
        detach_reset=True,
        num_classes=10,
    )
    functional.set_step_mode(net, step_mode="m")
    return net


def step_through(net: nn.Module, x: Tensor) -> Tensor:
    """Return the outputs of a network in single-step mode, called once per tick."""
    functional.reset_net(net)
    return torch.stack([net(x_t) for x_t in x])


def run_ticks(net: nn.Module, x: Tensor) -> Tensor:
    """Return the outputs of a network in multi-step mode, called once for all ticks."""
    functional.reset_net(net)
    y: Tensor = net(x)
    return y


TUTORIALS = (
    Tutorial(
        name="SpikingJelly, lif_fc_mnist",
        library="spikingjelly",
        source=PAGE.format("examples/lif_fc_mnist"),
        make=FullyConnected,
        run=step_through,
        input_shape=(1, 28, 28),
        coding="rate",
        ticks=50,
        lr=1e-2,
        changed="50 ticks, 100 on the page",
    ),
    Tutorial(
        name="SpikingJelly, conv_fashion_mnist",
        library="spikingjelly",
        source=PAGE.format("examples/conv_fashion_mnist"),
        make=lambda: CSNN(channels=16),
        run=lambda net, x: run_ticks(net, x[0]),
        input_shape=(1, 28, 28),
        coding="static",
        ticks=4,
        lr=1e-2,
        changed="16 of 128 channels, digits for clothes",
    ),
    Tutorial(
        name="SpikingJelly, SEW-ResNet-18",
        library="spikingjelly",
        source=PAGE.format("model/sew_resnet"),
        make=make_sew_resnet18,
        run=run_ticks,
        input_shape=(3, 32, 32),
        coding="static",
        ticks=4,
        changed="32 x 32 pixels, weights as drawn",
        trains=False,
    ),
)
