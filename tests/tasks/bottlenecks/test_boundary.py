"""Narrow layers: what passes them unchanged, the least error, pruning, gates."""

import numpy as np
import pytest
import torch
from narrow_cases import build_alive, draw_digits, narrow, small, take
from torch import nn

from neuro.nn.layers import Stack
from neuro.nn.trace import TraceError, trace
from tasks.bottlenecks import task
from tasks.bottlenecks.boundary import (
    choose_directions,
    copy_original,
    find_components,
    initialise_boundaries,
    initialise_boundary,
    keep_open_channels,
    list_open_channels,
)
from tasks.bottlenecks.links import FloatLink, Gates, Quantiser, make_link
from tasks.bottlenecks.network import split_before


def draw_activity(channels: int = 5, seed: int = 0) -> torch.Tensor:
    """Return spikes T B C H W of correlated channels."""
    rng = torch.Generator().manual_seed(seed)
    shared = torch.randn(2, 3, 2, 4, 4, generator=rng)
    own = 0.3 * torch.randn(2, 3, channels, 4, 4, generator=rng)
    mix = torch.randn(channels, 2, generator=rng)
    return ((torch.einsum("ck,tbkhw->tbchw", mix, shared) + own) > 0.2).float()


def make(link: str, channels: int, width: int) -> Stack:
    return Stack(
        compress=nn.Conv2d(channels, width, 1),
        link=make_link(link, width),  # type: ignore[arg-type]
        expand=nn.Conv2d(width, channels, 1),
    )


class TestClosedForm:
    @pytest.mark.parametrize("width", [1, 2, 3, 4])
    def test_has_the_least_error_of_its_rank(self, width: int) -> None:
        """Eckart and Young: of all maps of that rank, by NumPy's singular values."""
        x = draw_activity()
        boundary = make("float", 5, width)
        initialise_boundary(boundary, [x[:, :1], x[:, 1:]], "pca")
        with torch.no_grad():
            error = float(((boundary(x)[0] - x) ** 2).sum())
        cases = x.movedim(2, -1).reshape(-1, 5).numpy().astype(float)
        singular = np.linalg.svd(cases - cases.mean(0), compute_uv=False)
        assert error == pytest.approx((singular[width:] ** 2).sum(), rel=1e-4)
        told = find_components([x]).variances[width:].sum()
        assert float(told) * len(cases) == pytest.approx((singular[width:] ** 2).sum())

    def test_of_all_channels_passes_everything(self) -> None:
        x = draw_activity()
        boundary = make("float", 5, 5)
        initialise_boundary(boundary, [x], "pca")
        with torch.no_grad():
            torch.testing.assert_close(boundary(x)[0], x, atol=1e-5, rtol=0)

    @pytest.mark.parametrize(("link", "bound"), [("8bit", 0.05), ("4bit", 0.5)])
    def test_of_a_quantiser_adds_at_most_half_a_step_a_channel(
        self, link: str, bound: float
    ) -> None:
        x = draw_activity()
        boundary = make(link, 5, 5)
        initialise_boundary(boundary, [x], "pca")
        with torch.no_grad():
            error = (boundary(x)[0] - x).abs().max()
        (quantiser,) = (m for m in boundary.children() if isinstance(m, Quantiser))
        assert error <= quantiser.step.norm() / 2 + 1e-3
        assert error <= bound

    def test_of_spikes_follows_the_mean_over_many_ticks(self) -> None:
        frame = torch.tensor([0.1, 0.6, 0.3])[None, :, None, None].repeat(1, 1, 2, 2)
        x = torch.cat([frame, 1 - frame]).repeat(64, 1, 1, 1, 1)[:, :2]
        boundary = make("spikes", 3, 3)
        initialise_boundary(boundary, [x], "pca")
        with torch.no_grad():
            torch.testing.assert_close(boundary(x)[0].mean(0), x.mean(0), atol=0.05, rtol=0)

    def test_of_pruning_lets_the_most_active_channels_through_as_they_are(self) -> None:
        x = draw_activity()
        boundary = make("float", 5, 2)
        initialise_boundary(boundary, [x], "channels")
        kept = x.movedim(2, -1).reshape(-1, 5).var(0).argsort(descending=True)[:2].sort().values
        v = choose_directions(find_components([x]), 2, "channels")
        assert v.argmax(0).tolist() == kept.tolist()
        with torch.no_grad():
            y = boundary(x)[0]
        torch.testing.assert_close(y[:, :, kept], x[:, :, kept], atol=1e-5, rtol=0)
        others = [c for c in range(5) if c not in kept.tolist()]
        assert float(y[:, :, others].var((0, 1, 3, 4)).max()) < 1e-8

    def test_of_spikes_is_the_better_of_components_and_channels(self) -> None:
        """Independent channels cross as they are; all of them without an error."""
        rng = torch.Generator().manual_seed(0)
        chance = torch.tensor([0.1, 0.5, 0.3])[:, None, None]
        x = (torch.rand(4, 5, 3, 6, 6, generator=rng) < chance).float()
        with torch.no_grad():
            boundary = make("spikes", 3, 3)
            initialise_boundary(boundary, [x], "pca")
            torch.testing.assert_close(boundary(x)[0], x, atol=1e-6, rtol=0)
            boundary = make("spikes", 3, 1)
            initialise_boundary(boundary, [x], "pca")
            y = boundary(x)[0]
        torch.testing.assert_close(y[:, :, 1], x[:, :, 1], atol=1e-6, rtol=0)
        assert float(y[:, :, [0, 2]].var((0, 1, 3, 4)).max()) < 1e-10

    def test_of_pruning_is_not_trained(self) -> None:
        config = narrow("8bit", (1, 2), begin="channels", teacher="folder")
        layer = take(task.build(config), "narrow1")
        trained = {name for name, p in layer.named_parameters() if p.requires_grad}
        assert trained == {"link.low", "link.step"}

    def test_needs_activity(self) -> None:
        with pytest.raises(ValueError, match="there is no activity"):
            find_components([])


class TestNetwork:
    def test_identities_change_nothing(self) -> None:
        """Of all channels, in 32 bits, identity weights: every output, to the last bit."""
        config = narrow("float", (1, 4), (2, 6))
        original, model = build_alive(small()), task.build(config).eval()
        copy_original(model, original)
        with torch.no_grad():
            for name, channels in (("narrow1", 4), ("narrow2", 6)):
                for layer in ("compress", "expand"):
                    conv = dict(take(model, name).named_children())[layer]
                    conv.weight.copy_(torch.eye(channels)[:, :, None, None])
                    conv.bias.zero_()
            x = draw_digits(config)
            assert original(x)[0].abs().sum() > 0
            assert torch.equal(model(x)[0], original(x)[0])

    def test_body_and_shortcut_read_what_crossed(self) -> None:
        """A link that lets nothing through leaves nothing of the image behind it."""
        config = narrow("float", (1, 1))
        model = build_alive(config)
        with torch.no_grad():
            dict(take(model, "narrow1").named_children())["compress"].weight.zero_()
            x = draw_digits(config)
            y = model(x)[0]
            assert torch.equal(y, model(torch.zeros_like(x))[0])

    def test_closed_forms_come_in_order(self) -> None:
        config = narrow("float", (0, 1), (1, 2))
        model = task.build(config)
        copy_original(model, build_alive(small()))
        x = draw_digits(config)
        initialise_boundaries(model, [x], "pca")
        assert model.training
        model.eval()
        with torch.no_grad():
            activity = split_before(model, "narrow1")(x)[0]
        mean = find_components([activity]).mean
        expand = dict(take(model, "narrow1").named_children())["expand"]
        torch.testing.assert_close(expand.bias, mean.float())

    def test_of_another_shape_takes_no_weights(self) -> None:
        with pytest.raises(ValueError, match="the original is another network: block1"):
            copy_original(
                task.build(narrow("float", (1, 2))), build_alive(small(channels=(3, 6)))
            )


class TestGates:
    def test_open_ones_are_kept_with_what_they_let_through(self) -> None:
        gated = build_alive(narrow("8bit", (1, 4), gated=True))
        gates = dict(take(gated, "narrow1").named_children())["gates"]
        assert isinstance(gates, Gates)
        with torch.no_grad():
            gates.raw.copy_(torch.tensor([3.0, -9.0, 0.0, -9.0]) / gates.SPEED)
            take(gated, "narrow1").link.step.mul_(torch.arange(1, 5))  # type: ignore[union-attr]
        assert {k: v.tolist() for k, v in list_open_channels(gated).items()} == {
            "narrow1": [0, 2]
        }
        config = narrow("8bit", (1, 2))
        model = task.build(config).eval()
        keep_open_channels(model, gated)
        x = draw_digits(config)
        with torch.no_grad():
            torch.testing.assert_close(model(x)[0], gated(x)[0])

    def test_of_other_widths_are_refused(self) -> None:
        gated = build_alive(narrow("float", (1, 4), gated=True))
        with pytest.raises(
            ValueError, match="narrow1: 2 channels, and the run with gates has 4"
        ):
            keep_open_channels(task.build(narrow("float", (1, 2))), gated)


def test_a_link_of_values_has_no_node() -> None:
    with pytest.raises(TraceError, match="FloatLink has no node"):
        trace(build_alive(narrow("float", (1, 2))), (1, 28, 28))
    assert isinstance(make_link("float", 3), FloatLink)
