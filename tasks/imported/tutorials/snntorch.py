"""Networks of snnTorch's tutorials 2 to 7, with the code of their authors."""

import snntorch as snn
import torch
from snntorch import surrogate, utils
from torch import Tensor, nn

from tasks.imported.tutorials.tutorial import Tutorial

PAGE = "https://snntorch.readthedocs.io/en/latest/tutorials/tutorial_{}.html"


class OneNeuron(nn.Module):
    """Tutorial 2: Lapicque's neuron under an injected current, then a Leaky one behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.lif1 = snn.Lapicque(R=5.1, C=5e-3, time_step=1e-3, threshold=0.5)
        self.lif2 = snn.Leaky(beta=0.8)

    def forward(self, cur_in: Tensor) -> Tensor:
        """Return the spikes of the second neuron, T B 1."""
        mem1, mem2 = self.lif1.init_lapicque(), self.lif2.init_leaky()
        spk_rec = []
        for step in range(cur_in.size(0)):
            spk1, mem1 = self.lif1(cur_in[step], mem1)
            spk2, mem2 = self.lif2(spk1, mem2)
            spk_rec.append(spk2)
        return torch.stack(spk_rec)


class Feedforward(nn.Module):
    """Tutorial 3: fully connected, states as local variables, a loop over the ticks of x."""

    def __init__(self, num_hidden: int = 1000, beta: float = 0.99) -> None:
        super().__init__()
        self.fc1 = nn.Linear(784, num_hidden)
        self.lif1 = snn.Leaky(beta=beta)
        self.fc2 = nn.Linear(num_hidden, 10)
        self.lif2 = snn.Leaky(beta=beta)

    def forward(self, spk_in: Tensor) -> tuple[Tensor, Tensor]:
        """Return (spikes, membranes), T B 10 each."""
        mem1 = self.lif1.init_leaky()
        mem2 = self.lif2.init_leaky()
        mem2_rec = []
        spk2_rec = []
        for step in range(spk_in.size(0)):
            cur1 = self.fc1(spk_in[step])
            spk1, mem1 = self.lif1(cur1, mem1)
            cur2 = self.fc2(spk1)
            spk2, mem2 = self.lif2(cur2, mem2)
            mem2_rec.append(mem2)
            spk2_rec.append(spk2)
        return torch.stack(spk2_rec), torch.stack(mem2_rec)


class SecondOrder(nn.Module):
    """Tutorial 4: neurons with a synaptic current."""

    def __init__(self, num_hidden: int = 1000, alpha: float = 0.9, beta: float = 0.8) -> None:
        super().__init__()
        self.fc1 = nn.Linear(784, num_hidden)
        self.lif1 = snn.Synaptic(alpha=alpha, beta=beta)
        self.fc2 = nn.Linear(num_hidden, 10)
        self.lif2 = snn.Synaptic(alpha=alpha, beta=beta)

    def forward(self, spk_in: Tensor) -> Tensor:
        """Return spikes, T B 10."""
        syn1, mem1 = self.lif1.init_synaptic()
        syn2, mem2 = self.lif2.init_synaptic()
        spk2_rec = []
        for spk in spk_in:
            spk1, syn1, mem1 = self.lif1(self.fc1(spk), syn1, mem1)
            spk2, syn2, mem2 = self.lif2(self.fc2(spk1), syn2, mem2)
            spk2_rec.append(spk2)
        return torch.stack(spk2_rec)


class StaticImage(nn.Module):
    """Tutorial 5: the image enters in each of 25 steps."""

    def __init__(self, num_hidden: int = 1000, beta: float = 0.95, num_steps: int = 25) -> None:
        super().__init__()
        self.num_steps = num_steps
        self.fc1 = nn.Linear(784, num_hidden)
        self.lif1 = snn.Leaky(beta=beta)
        self.fc2 = nn.Linear(num_hidden, 10)
        self.lif2 = snn.Leaky(beta=beta)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (spikes, membranes), T B 10 each."""
        mem1 = self.lif1.init_leaky()
        mem2 = self.lif2.init_leaky()
        spk2_rec = []
        mem2_rec = []
        for _step in range(self.num_steps):
            cur1 = self.fc1(x)
            spk1, mem1 = self.lif1(cur1, mem1)
            cur2 = self.fc2(spk1)
            spk2, mem2 = self.lif2(cur2, mem2)
            spk2_rec.append(spk2)
            mem2_rec.append(mem2)
        return torch.stack(spk2_rec, dim=0), torch.stack(mem2_rec, dim=0)


def make_convolutional(
    channels: tuple[int, int] = (12, 64), beta: float = 0.5, *, pool_spikes: bool
) -> nn.Module:
    """Return the network of tutorial 6; pool_spikes: whether the pool is behind the neurons."""
    spike_grad = surrogate.fast_sigmoid(slope=25)

    def leaky(**others: bool) -> nn.Module:
        cell: nn.Module = snn.Leaky(
            beta=beta, spike_grad=spike_grad, init_hidden=True, **others
        )
        return cell

    def order(pool: nn.Module, neurons: nn.Module) -> tuple[nn.Module, nn.Module]:
        return (neurons, pool) if pool_spikes else (pool, neurons)

    one, two = channels
    return nn.Sequential(
        nn.Conv2d(1, one, 5),
        *order(nn.MaxPool2d(2), leaky()),
        nn.Conv2d(one, two, 5),
        *order(nn.MaxPool2d(2), leaky()),
        nn.Flatten(),
        nn.Linear(two * 4 * 4, 10),
        leaky(output=True),
    )


def step_through(net: nn.Module, data: Tensor) -> Tensor:
    """Return the spikes of a network that keeps its states: the loop of tutorials 6 and 7."""
    spk_rec = []
    utils.reset(net)
    for step in range(data.size(0)):
        spk_out, _ = net(data[step])
        spk_rec.append(spk_out)
    return torch.stack(spk_rec)


TUTORIALS = (
    Tutorial(
        name="snnTorch 2, one neuron",
        library="snntorch",
        source=PAGE.format(2),
        make=OneNeuron,
        run=lambda net, x: net(x),
        input_shape=(1,),
        coding="static",
        ticks=100,
        changed="both neurons of the page in a row",
        trains=False,
    ),
    Tutorial(
        name="snnTorch 3, feedforward",
        library="snntorch",
        source=PAGE.format(3),
        make=lambda: Feedforward(num_hidden=256),
        run=lambda net, x: net(x)[0],
        input_shape=(784,),
        coding="rate",
        ticks=25,
        changed="256 hidden neurons, 1000 on the page",
    ),
    Tutorial(
        name="snnTorch 4, synaptic currents",
        library="snntorch",
        source=PAGE.format(4),
        make=lambda: SecondOrder(num_hidden=256),
        run=lambda net, x: net(x),
        input_shape=(784,),
        coding="rate",
        ticks=25,
        changed="two layers; the page shows one neuron",
    ),
    Tutorial(
        name="snnTorch 5, static image",
        library="snntorch",
        source=PAGE.format(5),
        make=lambda: StaticImage(num_hidden=256),
        run=lambda net, x: net(x[0])[0],
        input_shape=(784,),
        coding="static",
        ticks=25,
        changed="256 hidden neurons, 1000 on the page",
    ),
    Tutorial(
        name="snnTorch 6, convolutional, as written",
        library="snntorch",
        source=PAGE.format(6),
        make=lambda: make_convolutional(pool_spikes=False),
        run=step_through,
        input_shape=(1, 28, 28),
        coding="static",
        ticks=10,
        lr=1e-2,
    ),
    Tutorial(
        name="snnTorch 6 and 7, convolutional",
        library="snntorch",
        source=PAGE.format(7),
        make=lambda: make_convolutional((12, 32), pool_spikes=True),
        run=step_through,
        input_shape=(1, 28, 28),
        coding="rate",
        ticks=10,
        lr=1e-2,
        changed="pools behind the neurons; digits for N-MNIST",
    ),
)
