"""Populations that never fire in a block are named, and nothing stays behind in the model."""

import torch
from torch import nn

from neuro import ALIF, LI, Recurrent, Spiking, Stack
from neuro.neurons import LIF
from neuro.training.diagnosis import watch_silence


def identity() -> nn.Linear:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.ones_(layer.weight)
    return layer


def make() -> nn.Module:
    return nn.ModuleDict(
        {
            "run": Stack(
                fires=Spiking(ALIF(threshold=0.5)),
                never=Spiking(LIF(tau=0.02, threshold=9.0)),
                read=Spiking(LI(tau=0.02)),
            ),
            "unused": Stack(never=Spiking(ALIF())),
            "loop": Recurrent(Spiking(LIF(tau=0.02, threshold=0.5)), identity()),
        }
    )


def count_hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) for m in model.modules())


def test_populations_that_run_and_send_no_spike_are_named() -> None:
    model, x = make(), torch.ones(4, 2, 1)
    with watch_silence(model) as silent, torch.no_grad():
        assert count_hooks(model) == 4
        model["run"](x)
        assert count_hooks(model) == 3  # who has fired is not looked at again
        model["loop"](x)
        assert count_hooks(model) == 2
    assert silent == {"run.never"}
    assert count_hooks(model) == 0


def test_one_spike_in_one_of_many_batches_is_no_silence() -> None:
    model, spike = make()["run"], torch.zeros(4, 2, 1)
    with watch_silence(model) as silent, torch.no_grad():
        model(spike)
        assert silent == {"fires", "never"}
        spike[3, 1] = 1.0
        model(spike)
        model(torch.zeros(4, 2, 1))
    assert silent == {"never"}


def test_hooks_go_where_the_block_fails() -> None:
    model = make()
    try:
        with watch_silence(model):
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert count_hooks(model) == 0
