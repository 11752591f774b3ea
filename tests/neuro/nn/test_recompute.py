import copy

import pytest
import torch
from torch import Tensor, nn

from neuro.base.seeds import seeded
from neuro.neurons import LIF
from neuro.nn import Residual, Spiking, Stack
from neuro.nn.recompute import count_kept, list_blocks, note_recomputed, run_in_blocks


def make_stack(wide: int = 6) -> Stack:
    """Return blocks with batch norms and dropout; the last is a Stack of plain layers."""

    def body(middle: int) -> Stack:
        return Stack(
            spikes=Spiking(LIF(tau=0.002)),
            conv=nn.Conv2d(3, middle, 3, padding=1),
            norm=nn.BatchNorm2d(middle),
            again=Spiking(LIF(tau=0.002)),
            back=nn.Conv2d(middle, 3, 3, padding=1),
            dropout=nn.Dropout(0.3),
        )

    with seeded(0):
        return Stack(
            first=Stack(a=Residual(body(4)), b=Residual(body(wide))),
            last=Stack(norm=nn.BatchNorm2d(3), spikes=Spiking(LIF(tau=0.002))),
        )


def draw_input() -> Tensor:
    with seeded(1):
        return (2 * torch.randn(4, 3, 3, 6, 6)).requires_grad_()


def learn(stack: Stack, blocks: bool) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Return output, gradients and buffers after a step with dropout."""
    x = draw_input()
    with seeded(2):
        y = run_in_blocks(stack, x) if blocks else stack(x)[0]
        (y * torch.arange(6.0)).sum().backward()
        drawn = torch.rand(2)
    gradients = [p.grad for p in stack.parameters() if p.grad is not None]
    assert x.grad is not None
    return [y, drawn, x.grad, *gradients], dict(stack.named_buffers())


@pytest.mark.parametrize("frozen", [False, True])
def test_outputs_gradients_and_statistics_are_those_of_the_stack(frozen: bool) -> None:
    one, other = make_stack(), make_stack()
    if frozen:  # a part that runs in evaluation mode, with running statistics of its own
        for stack in (one, other):
            stack.get_submodule("first.a").eval()
    plain, buffers = learn(one, False)
    found, own = learn(other, True)
    assert len(plain) > 12
    assert all(a.equal(b) for a, b in zip(plain, found, strict=True))
    assert all(own[name].equal(buffers[name]) for name in buffers)
    name = "first.a.body.norm.num_batches_tracked"
    assert own[name] == (0 if frozen else 1)  # not two


def test_the_mode_of_the_first_run_counts() -> None:
    stack, x = make_stack(), draw_input()
    want = copy.deepcopy(stack).eval()(x)[0]
    gradient = torch.autograd.grad(want.sum(), x)[0]
    y = run_in_blocks(stack.eval(), x)
    stack.train()  # before the backward pass
    assert torch.autograd.grad(y.sum(), x)[0].equal(gradient)
    assert all(m.training for m in stack.modules())
    norm = stack.get_submodule("last.norm")
    assert (norm.num_batches_tracked, norm.momentum) == (0, 0.1)


def test_without_gradients_nothing_is_kept() -> None:
    stack, x = make_stack().eval(), draw_input()
    with torch.no_grad():
        assert run_in_blocks(stack, x).equal(stack(x)[0])


def test_blocks_are_the_residuals_of_a_stack_of_them() -> None:
    stack = make_stack()
    names = {id(m): name for name, m in stack.named_modules()}
    assert [names[id(b)] for b in list_blocks(stack)] == ["first.a", "first.b", "last"]


def test_only_inputs_of_blocks_are_kept_and_the_need_of_each_is_noted() -> None:
    stack, x = make_stack(wide=12), draw_input()
    with count_kept(stack) as count:
        stack(x)
    whole = count()
    with note_recomputed() as noted, count_kept(stack) as count:
        run_in_blocks(stack, x)
    assert count() == 3 * x.nbytes
    assert len(noted) == 3
    assert max(noted) == noted[1]
    # Each block's own values; the Stack keeps the same, and shares what lies between.
    assert sum(noted) == pytest.approx(whole, rel=0.1)
    assert count() + max(noted) < 0.75 * whole
