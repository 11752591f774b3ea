"""Networks of Norse's examples, with the code of their authors."""

import norse.torch as norse
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tasks.imported.tutorials.tutorial import Tutorial


class ConvNet4(nn.Module):
    """The network of ``norse.task.mnist``: states as locals, voltages written in place."""

    def __init__(self, channels: tuple[int, int, int] = (32, 64, 1024)) -> None:
        super().__init__()
        one, two, hidden = channels
        self.features = int(((28 - 4) / 2 - 4) / 2) ** 2 * two
        self.conv1 = nn.Conv2d(1, one, 5, 1)
        self.conv2 = nn.Conv2d(one, two, 5, 1)
        self.fc1 = nn.Linear(self.features, hidden)
        self.lif0 = norse.LIFCell(p=norse.LIFParameters(method="super", alpha=100.0))
        self.lif1 = norse.LIFCell(p=norse.LIFParameters(method="super", alpha=100.0))
        self.lif2 = norse.LIFCell(p=norse.LIFParameters(method="super", alpha=100.0))
        self.out = norse.LILinearCell(hidden, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return membrane voltages, T B 10."""
        seq_length = x.shape[0]
        batch_size = x.shape[1]
        s0 = s1 = s2 = so = None
        voltages = torch.zeros(seq_length, batch_size, 10, device=x.device, dtype=x.dtype)
        for ts in range(seq_length):
            z = self.conv1(x[ts, :])
            z, s0 = self.lif0(z, s0)
            z = F.max_pool2d(z, 2, 2)
            z = 10 * self.conv2(z)
            z, s1 = self.lif1(z, s1)
            z = F.max_pool2d(z, 2, 2)
            z = z.view(-1, self.features)
            z = self.fc1(z)
            z, s2 = self.lif2(z, s2)
            v, so = self.out(F.relu(z), so)
            voltages[ts, :, :] = v
        return voltages


def make_sequential(channels: tuple[int, int, int] = (20, 50, 500)) -> nn.Module:
    """Return the sequential convolutional network of Norse's README."""
    one, two, hidden = channels
    net: nn.Module = norse.SequentialState(
        nn.Conv2d(1, one, 5, 1),
        norse.LIFCell(),
        nn.MaxPool2d(2, 2),
        nn.Conv2d(one, two, 5, 1),
        norse.LIFCell(),
        nn.MaxPool2d(2, 2),
        nn.Flatten(),
        nn.Linear(16 * two, hidden),
        norse.LIFCell(),
        nn.Linear(hidden, 10),
        norse.LICell(),
    )
    return net


def step_through(net: nn.Module, x: Tensor) -> Tensor:
    """Run a SequentialState tick by tick and return its membrane voltages."""
    state, out = None, []
    for x_t in x:
        v, state = net(x_t, state)
        out.append(v)
    return torch.stack(out)


TUTORIALS = (
    Tutorial(
        name="Norse, norse.task.mnist",
        library="norse",
        source="https://github.com/norse/norse/blob/main/norse/task/mnist.py",
        make=lambda: ConvNet4((8, 16, 128)),
        run=lambda net, x: net(x),
        input_shape=(1, 28, 28),
        coding="rate",
        ticks=20,
        lr=1e-2,
        changed="8, 16 and 128 of 32, 64 and 1024 channels",
    ),
    Tutorial(
        name="Norse, sequential convolutional",
        library="norse",
        source="https://github.com/norse/norse#example-convolutional-classifier",
        make=lambda: make_sequential((8, 16, 100)),
        run=step_through,
        input_shape=(1, 28, 28),
        coding="rate",
        ticks=20,
        lr=1e-2,
        changed="8, 16 and 100 of 20, 50 and 500 channels",
    ),
)
