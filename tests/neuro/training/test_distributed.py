"""What several processes make of their parts of a batch is what one makes of the whole."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor, nn
from two import SHARDED, Found, alone, in_two

from neuro.base.seeds import seeded
from neuro.training import distributed as processes
from neuro.training.course import TrainError
from neuro.training.distributed import (
    apply_dropout,
    draw_shard,
    keep_strides_of_gradients,
    shard_batch,
    synchronize_layers,
)

KINDS = ("plain", "normed", "dropping", "nested", "staged", "streamed", "driving", "language")
CASES = [f"shared_cases.{kind}" for kind in KINDS]
SPOILT, LANGUAGE = "shared_cases.spoilt", "shared_cases.language" + SHARDED
IMAGES = [f"image_cases.{kind}" for kind in ("attention", "drawn", "membrane", "gaussian")]
# Largest relative distance: some roundings of float32, in which neurons learn.
RTOL = 16 * np.finfo(np.float32).eps
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return in_two([*CASES, *IMAGES, SPOILT, LANGUAGE], tmp_path_factory.mktemp("two"))


@pytest.mark.slow
@pytest.mark.parametrize("case", [*CASES, LANGUAGE])
def test_two_processes_follow_the_loss_curve_of_one(
    tmp_path: Path, two: dict[str, Found], case: str
) -> None:
    history, end = two[case]
    want, last = alone(case.removesuffix(SHARDED), tmp_path)
    losses = [[row["train_loss"] for row in rows] for rows in (history, want)]
    assert losses[1][2] != losses[1][0]
    np.testing.assert_allclose(*losses, rtol=RTOL)
    assert end.keys() == last.keys()
    for name, value in last.items():
        np.testing.assert_allclose(end[name], value, rtol=RTOL, atol=RTOL)


@pytest.mark.slow
@pytest.mark.parametrize("case", IMAGES)
def test_two_processes_follow_the_curves_of_one_that_draws_images(
    tmp_path: Path, two: dict[str, Found], case: str
) -> None:
    history, end = two[case]
    want, last = alone(case, tmp_path)
    losses, scores = (
        [[row[name] for row in rows] for rows in (history, want)]
        for name in ("train_loss", "val_score")
    )
    np.testing.assert_allclose(*losses, rtol=1e-12)  # measured: 2e-16
    # Measured: 7e-16; of the Gaussian one 4e-10. The biases of its convolutions stand in front
    # of norms: their gradient is rounding alone, and Adam moves them by it.
    np.testing.assert_allclose(*scores, rtol=1e-8)
    assert end.keys() == last.keys()
    for name, value in last.items():
        np.testing.assert_allclose(end[name], value, atol=1e-7)  # measured: 2e-9


@pytest.mark.slow
def test_where_one_process_cannot_go_on_none_does(two: dict[str, list[str]]) -> None:
    assert len(two[SPOILT]) == 2
    for told in two[SPOILT]:
        assert told.startswith("the loss is not finite: every layer is finite in this process;")


def by_each(n: int, do: Callable[[int], Tensor]) -> list[Tensor]:
    """Return what each of n processes makes, from the same seed."""
    out = []
    for rank in range(n):
        with pytest.MonkeyPatch.context() as patch, seeded(3):
            for module in (processes, processes):
                patch.setattr(module, "get_rank_and_world_size", lambda rank=rank: (rank, n))
            out.append(do(rank))
    return out


@given(n=st.integers(1, 4), samples=st.integers(1, 5), axis=st.integers(0, 2))
def test_processes_draw_what_one_draws_for_all_samples(n: int, samples: int, axis: int) -> None:
    def draw(many: int) -> Tensor:
        return torch.randn(*(many if k == axis else 7 for k in range(3)))

    with seeded(3):
        whole = draw(n * samples)
    for rank, part in enumerate(by_each(n, lambda _: draw_shard(draw, samples, axis))):
        which = torch.arange(rank, n * samples, n)
        assert torch.equal(part, whole.index_select(axis, which))


@given(
    n=st.integers(1, 4),
    rows=st.integers(1, 6),
    kind=st.sampled_from([nn.Dropout, nn.Dropout2d, nn.AlphaDropout, nn.FeatureAlphaDropout]),
    last=st.booleans(),
)
def test_dropouts_of_processes_keep_what_one_keeps(
    n: int, rows: int, kind: type[nn.Module], last: bool
) -> None:
    layout = torch.channels_last if last else torch.contiguous_format
    x = torch.rand(n * rows, 3, 4, 5).contiguous(memory_format=layout).requires_grad_()
    drop = kind(0.4)
    with seeded(3):
        want = drop(x)
    (flow,) = torch.autograd.grad(want.square().sum(), x)

    def part(rank: int) -> Tensor:
        return apply_dropout(drop, x[rank::n].contiguous(memory_format=layout))

    for rank, y in enumerate(by_each(n, part)):
        assert torch.equal(y, want[rank::n])
        (own,) = torch.autograd.grad(y.square().sum(), x)
        assert torch.equal(own[rank::n], flow[rank::n])
        assert own.count_nonzero() == flow[rank::n].count_nonzero()


@pytest.mark.parametrize("many", [1, 2])
def test_of_several_processes_gradients_have_the_strides_of_their_parameters(
    many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DDP warns where they differ, also along an axis of length 1."""
    monkeypatch.setattr(processes, "get_rank_and_world_size", lambda: (0, many))
    net = nn.Conv2d(1, 4, 5)
    keep_strides_of_gradients(net)
    seen: list[Tensor] = []
    net.weight.register_hook(seen.append)
    gradient = torch.randn(100).as_strided((4, 1, 5, 5), (25, 1, 5, 1))

    class Convolution(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, weight: Tensor) -> Tensor:  # noqa: ARG004
            return weight.sum()

        @staticmethod
        def backward(ctx: Any, d_y: Tensor) -> Tensor:  # noqa: ARG004
            return gradient

    run: Any = Convolution.apply
    run(net.weight).backward()
    assert seen[0].stride() == (25, 25 if many == 2 else 1, 5, 1)
    assert torch.equal(seen[0], gradient)


def test_one_process_and_evaluation_are_as_they_were() -> None:
    net = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5))
    synchronize_layers(net)
    assert all("forward" not in vars(m) for m in net.modules())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "get_rank_and_world_size", lambda: (0, 2))
        synchronize_layers(net)
        assert all("forward" in vars(m) for m in net)
        x = torch.rand(4, 3)
        want = nn.Sequential(nn.BatchNorm1d(3)).eval()(x)
        assert torch.equal(net.eval()(x), want)


def test_a_shard_is_cut_along_the_axis_of_each_tensor() -> None:
    batch = {
        "x": [torch.arange(24).view(3, 4, 2), torch.arange(4)],
        "n": 7,
        "mask": torch.eye(3),
    }
    axes = {"x": [1, -1], "n": None, "mask": None}
    for rank, part in enumerate(by_each(2, lambda _: shard_batch(batch, axes, CPU))):
        assert torch.equal(part["x"][0], batch["x"][0][:, rank::2])
        assert torch.equal(part["x"][1], batch["x"][1][rank::2])
        assert torch.equal(part["mask"], torch.eye(3))
        assert part["n"] == 7
    whole = (torch.ones(4, 2), (torch.ones(4), torch.ones(4)))
    (first, _) = by_each(2, lambda _: shard_batch(whole, 0, CPU))
    assert [len(t) for t in (first[0], *first[1])] == [2, 2, 2]


@pytest.mark.parametrize("axis", range(-3, 3))
def test_an_axis_may_be_counted_from_the_end(axis: int) -> None:
    whole = torch.arange(4 * 6 * 8).view(4, 6, 8)
    for rank, part in enumerate(by_each(2, lambda _: shard_batch(whole, axis, CPU))):
        own = torch.arange(rank, whole.shape[axis], 2)
        assert torch.equal(part, whole.index_select(axis, own))


def test_batches_that_cannot_be_cut_are_told() -> None:
    x, y = torch.ones(5, 3, 6), torch.ones(3)
    for batch, axes, match in (
        ((x, y), (1, 0), "a batch of 3 does not divide into 2 processes; .* smaller last"),
        ((x, y), 0, r"hold 3 and 5 samples along batch_axis 0; name the axis"),
        ((x, y), (1, 0, 0), r"batch_axis \(1, 0, 0\) does not fit a batch of structure"),
        ((x, y), (1, 2), r"batch_axis 2 does not exist in a tensor of shape \(3,\)"),
        ((x.numpy(), y), (1, 0), "a batch holds a ndarray; .* torch.from_numpy"),
    ):
        with pytest.raises(TrainError, match=match):
            by_each(2, lambda _, batch=batch, axes=axes: shard_batch(batch, axes, CPU))


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("affine", [True, False])
def test_a_norm_of_two_equal_shards_is_that_of_one(
    kind: torch.dtype, affine: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gather(out: list[Tensor], own: Tensor) -> None:
        for values in out:
            values.copy_(own)

    waits = []
    monkeypatch.setattr(processes, "get_rank_and_world_size", lambda: (0, 2))
    monkeypatch.setattr("torch.distributed.all_gather", lambda *a: waits.append(gather(*a)))
    monkeypatch.setattr("torch.distributed.all_reduce", lambda x: waits.append(x.mul_(2)))
    with seeded(0):
        x, g = torch.randn(2, 6, 3, 4, 5).to(kind).unbind()
        x = 100 + 3 * x
        norms = [nn.BatchNorm2d(3, affine=affine) for _ in range(2)]
    found = []
    applied = processes.apply_batch_norm, nn.BatchNorm2d.forward
    for norm, apply in zip(norms, applied, strict=True):
        if affine:
            nn.init.constant_(norm.weight, 0.5)
        given = x.clone().requires_grad_()
        y = apply(norm, given)
        y.backward(g)
        found.append([y, given.grad, *(p.grad for p in norm.parameters()), norm.running_mean])
    assert len(waits) == 2  # one forward, one back
    assert found[0][0].dtype == kind
    near = (
        {"rtol": 1e-4, "atol": 1e-4} if kind == torch.float32 else {"rtol": 0.05, "atol": 0.05}
    )
    for ours, torchs in zip(*found, strict=True):
        torch.testing.assert_close(ours, torchs, **near)
    # Twice as many values: torch corrects the variance by 119 / 120 more.
    n = 6 * 4 * 5
    ratio = (2 * n / (2 * n - 1)) / (n / (n - 1))
    ours, torchs = (norm.running_var - 0.9 for norm in norms)
    torch.testing.assert_close(ours, torchs * ratio, rtol=0.02, atol=0)
