"""What is computed twice is what was computed once, in less memory."""

import pytest
import torch
from builders import dyadic, dyadic_rand
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from neuro.base.seeds import seeded
from neuro.base.units import Ticks
from neuro.neurons import ALIF, LI, LIF, run_population
from neuro.nn.checkpoint import Checkpointed
from neuro.nn.layers import DT, Delay, Recurrent, Residual, Spiking, Stack
from neuro.spikes.codes import direct


def net() -> Stack:
    with seeded(0):
        made = Stack(
            conv=nn.Conv2d(1, 3, 3),
            cells=Spiking(ALIF(threshold=0.2, beta=0.1)),
            pool=nn.AvgPool2d(2),
            flat=nn.Flatten(),
            again=Recurrent(Spiking(LIF(tau=0.01, threshold=0.3)), nn.Linear(27, 27)),
            late=Delay(Ticks(2)),
            body=Residual(Stack(nn.Linear(27, 27), Spiking(LIF(tau=0.01, tau_syn=0.005)))),
            fc=nn.Linear(27, 5),
            out=Spiking(LI(tau=0.02)),
        ).double()
    return dyadic(made)


def found(module: nn.Module, image: Tensor, scale: Tensor | Ticks) -> tuple[list[Tensor], ...]:
    """Return outputs with states, and gradients of all parameters and of an image.

    scale: of the image in each tick, or for how many ticks it stays.
    """
    image = image.detach().requires_grad_()
    y, after = module(image * scale if isinstance(scale, Tensor) else direct(image, scale))
    cells = [c for c in tree_leaves(after) if c is not None]
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)
    loss = (y * weights).sum() + sum((c**2).sum() for c in cells)
    wanted = [image, *module.parameters()]
    return [y, *cells], list(torch.autograd.grad(loss, wanted))


STATES = st.none() | st.integers(1, 4)


@settings(max_examples=30)
@given(
    ticks=st.integers(1, 12), chunk=st.integers(1, 13), states=STATES, constant=st.booleans()
)
def test_outputs_states_and_gradients_are_those_of_the_module(
    ticks: int, chunk: int, states: int | None, constant: bool
) -> None:
    with seeded(ticks):
        image = dyadic_rand(3, 1, 8, 8)
    scale = Ticks(ticks) if constant else torch.arange(ticks).view(-1, 1, 1, 1, 1)
    module = net()
    out, grads = found(Checkpointed(module, Ticks(chunk), states), image, scale)
    want, slow = found(module, image, scale)
    for a, b in zip(out, want, strict=True):
        assert torch.equal(a, b)
        assert a.requires_grad == b.requires_grad
    for a, b in zip(grads, slow, strict=True):
        bound = 1e-10 if a.dim() else 1e-6  # what neurons learn is float32
        torch.testing.assert_close(a, b, rtol=bound, atol=bound)


def test_gradients_of_gradients_are_those_of_the_module_tick_by_tick() -> None:
    """Tick by tick in plain torch: a module whose forward calls a layer is run as it is."""
    image, module = dyadic_rand(3, 1, 8, 8), net()
    wanted = [p for p in module.parameters() if p.dim()]

    def find(run: nn.Module) -> list[Tensor]:
        y, _ = run(direct(image, Ticks(6)))
        first = torch.autograd.grad(y.square().sum(), wanted, create_graph=True)
        norm = sum(g.square().sum() for g in first)
        return list(torch.autograd.grad(norm, wanted, allow_unused=True))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("neuro.neurons.fused.make_fused_form", lambda *_: None)
        want = find(module)
    assert sum(bool(g.any()) for g in want) >= 6
    for run in (module, Checkpointed(module, Ticks(4))):
        for a, b in zip(find(run), want, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)


def test_with_a_number_of_states_they_are_refused_with_the_cure() -> None:
    module = Checkpointed(net(), Ticks(2), states=2)
    y, _ = module(dyadic_rand(5, 1, 1, 8, 8))
    wanted = list(module.parameters())
    with pytest.raises(ValueError, match=r"no gradients of gradients; leave states out"):
        torch.autograd.grad(y.sum(), wanted, create_graph=True)


@pytest.mark.parametrize("states", [1, 2, 5])
def test_fewer_states_change_no_bit(states: int) -> None:
    image, module = dyadic_rand(3, 1, 8, 8), net()
    out, grads = found(Checkpointed(module, Ticks(2), states), image, Ticks(11))
    want, kept = found(Checkpointed(module, Ticks(2)), image, Ticks(11))
    assert all(map(torch.equal, out, want))
    names = ["image", *(name for name, _ in module.named_parameters())]
    other = [n for n, a, b in zip(names, grads, kept, strict=True) if not torch.equal(a, b)]
    # One weight of all ticks of a chunk: their sum is taken first.
    assert all(name.startswith("again.feedback") for name in other)


@pytest.mark.parametrize("states", [None, 2])
def test_it_goes_on_where_it_stopped_also_without_gradients(states: int | None) -> None:
    x = dyadic_rand(9, 2, 1, 8, 8)
    module = Checkpointed(net(), Ticks(3), states)
    whole, _ = module(x)
    with torch.no_grad():
        first, state = module(x[:4])
        second, _ = module(x[4:], state)
    assert torch.equal(torch.cat([first, second]), whole)


@pytest.mark.parametrize("states", [None, 2])
def test_gradients_flow_into_the_state_it_goes_on_from(states: int | None) -> None:
    x = torch.rand(9, 2, 1, 8, 8, dtype=torch.float64)
    module = net()
    part = Checkpointed(module, Ticks(2), states)
    whole = module(x)[0]
    first, state = part(x[:4])
    second, _ = part(x[4:], state)
    for loss, other in ((second[-1].sum(), whole[-1].sum()), (first.sum(), whole[:4].sum())):
        grads = torch.autograd.grad(loss, list(module.parameters()), retain_graph=True)
        want = torch.autograd.grad(other, list(module.parameters()), retain_graph=True)
        torch.testing.assert_close(grads, want, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("states", [None, 1, 2, 3])
def test_dropout_falls_on_the_same_when_it_is_computed_again(states: int | None) -> None:
    fc, drop = nn.Linear(6, 4), nn.Dropout(0.5)
    stack = Stack(fc, drop, Spiking(LI(tau=0.01)))
    with seeded(3):
        y, _ = Checkpointed(stack, Ticks(2), states)(torch.ones(8, 1, 6))
        after = torch.get_rng_state()
        fell = torch.autograd.grad(y[:, 0].sum(), fc.bias)[0]
        assert torch.equal(torch.get_rng_state(), after)
    with seeded(3):
        z, _ = stack(torch.ones(2, 1, 6))
    assert torch.equal(y[:2], z)  # drawn in order
    with seeded(3):
        parts = [drop(torch.ones(2, 4)) for _ in range(4)]
    heard = LI(tau=0.01)
    falls = run_population(heard, torch.cat(parts)[:, None], DT)[0].sum((0, 1))
    torch.testing.assert_close(fell, falls)


def test_less_is_kept_for_the_way_back() -> None:
    x, kept = torch.rand(64, 8, 30), []
    stack = Stack(nn.Linear(30, 100), Spiking(LIF(tau=0.01)), nn.Linear(100, 3))
    for module in (stack, Checkpointed(stack, Ticks(8)), Checkpointed(stack, Ticks(1))):
        held: dict[int, int] = {}

        def pack(t: Tensor, held: dict[int, int] = held) -> Tensor:
            held[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            module(x)
        kept.append(sum(held.values()))
    assert kept[0] > 64 * 8 * 200 * 4  # input and output of the population
    assert kept[1] < kept[0] / 4


def test_a_chunk_has_ticks_a_state_at_least_is_kept_and_all_that_is_wrong_is_told() -> None:
    with pytest.raises(ValueError, match=r"states must be >= 1, got 0; None keeps one for"):
        Checkpointed(net(), Ticks(1), states=0)
    told = r"ticks must be >= 1, got 0; .*square root.*states must be .* got -1"
    with pytest.raises(ValueError, match=told):
        Checkpointed(net(), Ticks(0), states=-1)


def test_a_batch_norm_that_is_trained_is_refused_by_name() -> None:
    stack = Stack(fc=nn.Linear(3, 4), norm=nn.BatchNorm1d(4), out=Spiking(LI(tau=0.01)))
    module = Checkpointed(stack, Ticks(2))
    with pytest.raises(ValueError, match=r"batch norms norm: .* set them to eval\(\)"):
        module(torch.rand(4, 2, 3))
    module.eval()
    assert module(torch.rand(4, 2, 3))[0].shape == (4, 2, 4)
