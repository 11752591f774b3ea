"""Fast ways through plain modules give what torch gives, and its gradients."""

import pytest
import torch
from builders import dyadic, dyadic_rand
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from neuro.base.seeds import seeded
from neuro.base.units import Ticks
from neuro.neurons import ALIF, LIF
from neuro.nn import schedule
from neuro.nn.fold_time import is_one_tick, run_on_ticks
from neuro.nn.layers import Spiking, Stack
from neuro.ops.sparse_linear import apply_linear
from neuro.spikes.codes import direct


def gradients(y: Tensor, *wanted: Tensor) -> list[Tensor]:
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)
    return list(torch.autograd.grad((y * weights).sum(), wanted))


def test_the_number_of_threads_changes_no_bit_of_a_product(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = (torch.rand(300, 300) < 0.05).float()
    weight = torch.randn(300, 300, requires_grad=True)
    found = []
    for threads in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda n=threads: n)
        y = apply_linear(x, weight, None)
        found.append([y, *gradients(y, weight)])
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)


def digits_net(normalises: bool = False) -> Stack:
    with seeded(0):
        made = Stack(
            conv1=nn.Conv2d(1, 4, 3, padding=1),
            cells1=Spiking(ALIF(threshold=0.2)),
            pool=nn.AvgPool2d(2),
            conv2=nn.Conv2d(4, 8, 3),
            norm=nn.BatchNorm2d(8) if normalises else nn.Identity(),
            cells2=Spiking(LIF(tau=0.01, threshold=0.2, reset="hard")),
            flat=nn.Flatten(),
            fc=nn.Linear(8 * 36, 10),
            out=Spiking(LIF(tau=0.02, threshold=0.1)),
        ).double()
    return dyadic(made)


def watch_rows(net: Stack, patch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which each call of the Flatten adds its samples times ticks."""
    rows, flat, run = [], net.get_submodule("flat"), schedule.run_module

    def watched(module: nn.Module, x: Tensor, *rest: object) -> tuple[Tensor, object]:
        if module is flat:
            rows.append(x.shape[0] * x.shape[1])
        return run(module, x, *rest)

    patch.setattr(schedule, "run_module", watched)
    return rows


def slowly(net: Stack, x: Tensor) -> Tensor:
    """Run a net module by module, all ticks and samples at a time."""
    for module in net.children():
        if isinstance(module, Spiking):
            x, _ = module(x)
        else:
            x = module(x.flatten(0, 1)).unflatten(0, x.shape[:2])
    return x


@pytest.mark.parametrize("normalises", [False, True])
@pytest.mark.parametrize("constant", [False, True])
def test_a_stack_in_parts_is_the_stack(
    normalises: bool, constant: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    g = torch.Generator().manual_seed(1)
    images = torch.randint(257, (25, 1, 16, 16), generator=g).double() / 256
    x = direct(images, Ticks(6)) if constant else images.repeat(6, 1, 1, 1, 1) + 0
    assert is_one_tick(x) == constant
    net = digits_net(normalises)
    y, _ = net(x)
    want = slowly(net, x.clone())
    assert torch.equal(y, want)
    assert 0.05 < y.detach().mean() < 0.95
    names, parameters = zip(*net.named_parameters(), strict=True)
    both = zip(gradients(y, *parameters), gradients(want, *parameters), strict=True)
    for name, (a, b) in zip(names, both, strict=True):
        bound = 1e-5 if name.startswith("cells") else 1e-10  # what neurons learn is float32
        torch.testing.assert_close(a, b, rtol=bound, atol=bound)


def test_a_stack_in_parts_goes_on_where_it_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    x = dyadic_rand(8, 25, 1, 16, 16)
    net = digits_net()
    whole, end = net(x)
    first, state = net(x[:5])
    second, last = net(x[5:], state)
    assert torch.equal(torch.cat([first, second]), whole)
    torch.testing.assert_close(last[1].v, end[1].v, rtol=0, atol=1e-12)
    assert len(last) == len(end) == 9


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("values", [1, 3 * 70 * 4 * 256])  # one tick at a time, and three
def test_without_gradients_a_stack_runs_a_few_ticks_at_a_time_and_gives_the_same(
    values: int, constant: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(schedule, "PART_VALUES", values)
    monkeypatch.setattr(schedule, "SAMPLE_VALUES", 0)
    monkeypatch.setattr(schedule, "IMAGES", 16)  # 64 without gradients
    images = dyadic_rand(70, 1, 16, 16)  # more than run together
    x = direct(images, Ticks(8)) if constant else images * dyadic_rand(8, 1, 1, 1, 1)
    net = digits_net()
    want, end = net(x)
    ticks = watch_rows(net, monkeypatch)
    with torch.no_grad():
        y, last = net(x)
    together = 1 if values == 1 else 3
    assert ticks[1] == 64 * together  # after a first tick
    assert ticks.count(64) >= 1
    assert sum(ticks) == 8 * 70
    assert torch.equal(y, want)
    for a, b in zip(tree_leaves(last), tree_leaves(end), strict=True):
        assert a is b is None or torch.equal(a, b)


def test_without_gradients_small_images_run_in_parts_of_samples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    x = dyadic_rand(8, 70, 1, 16, 16)
    net = digits_net()
    want, _ = net(x)
    heard = watch_rows(net, monkeypatch)
    with torch.no_grad():
        assert torch.equal(net(x)[0], want)
    assert heard == [8 * 32, 8 * 32, 8 * 6]


def test_a_batch_norm_that_is_trained_sees_all_ticks_also_without_gradients() -> None:
    x = torch.rand(6, 5, 1, 16, 16, dtype=torch.float64)
    net = digits_net(normalises=True)
    want, _ = net(x)
    with torch.no_grad():
        assert torch.equal(net(x)[0], want)


def test_dropout_is_drawn_for_every_tick() -> None:
    x = direct(torch.ones(1, 50), Ticks(4))
    y = run_on_ticks(nn.Dropout(0.5), x)
    assert not torch.equal(y[0], y[1])


def test_hooks_of_a_module_are_heard() -> None:
    heard = []
    fc = nn.Linear(300, 300)
    fc.register_forward_hook(lambda *_: heard.append(1))
    run_on_ticks(fc, torch.zeros(3, 100, 300))
    assert heard == [1]
