"""The network: published sizes, arms of equal cost, and the images that an image sees."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neuro.base.seeds import seeded
from tasks.flow import config as configs
from tasks.flow.config import Arm, FlowConfig, tiny
from tasks.flow.cost import count_macs, count_parameters
from tasks.flow.model import (
    FlowModel,
    HybridAttention,
    build,
    embed_places,
    embed_time,
    join_patches,
    split_patches,
)
from tasks.runs.configuration import list_problems

SMALL = replace(tiny(), width=16, heads=2, side=6, patch=2, classes=3)


def open_gates(model: FlowModel) -> FlowModel:
    """Randomise all weights, because fresh gates are closed; return the model in float64."""
    with seeded(1):
        for p in model.parameters():
            nn.init.normal_(p, std=0.3)
    return model.double()


def make(arm: Arm = "arflow", **change: object) -> FlowModel:
    with seeded(0):
        return open_gates(build(replace(SMALL, arm=arm, **change)))  # type: ignore[arg-type]


def batch(images: int, samples: int, config: FlowConfig = SMALL) -> tuple[Tensor, ...]:
    rng = torch.Generator().manual_seed(0)
    shape = (images, samples, config.colours, config.side, config.side)
    x = torch.randn(shape, generator=rng, dtype=torch.float64)
    t = torch.rand(images, samples, generator=rng, dtype=torch.float64)
    return x, t, torch.randint(config.classes, (1, samples), generator=rng).expand(images, -1)


@pytest.mark.parametrize(
    ("name", "frozen", "total"),
    [
        ("small", 256 * 384, 32_963_360),
        ("base", 256 * 768, 130_512_416),
        ("large", 256 * 1024, 458_102_816),
        ("xlarge", 256 * 1152, 675_129_632),
    ],
)
def test_sit_has_the_published_size(name: str, frozen: int, total: int) -> None:
    """The published numbers include the fixed position embeddings."""
    config = replace(getattr(configs, name)(), arm="sit")
    assert count_parameters(config) + frozen == total
    gated = replace(config, arm="arflow")
    extra = config.width**2 + config.width * config.heads + 64
    assert config.width // config.heads == 64
    assert count_parameters(gated) == count_parameters(config) + config.depth * extra


@pytest.mark.parametrize(
    "make_config", [configs.tiny, configs.tiny_spiking, configs.mnist, configs.cifar10]
)
def test_arms_have_equally_many_parameters_and_nearly_equal_macs(make_config: object) -> None:
    config: FlowConfig = make_config()  # type: ignore[operator]
    arms = ("sit", "sit_grouped", "sit_unlabelled", "arflow", "arflow_unlabelled")
    sizes = [count_parameters(replace(config, arm=arm)) for arm in arms]  # type: ignore[arg-type]
    assert sizes[0] == sizes[1] == sizes[2]
    assert sizes[3] == sizes[4]
    assert abs(sizes[3] - sizes[0]) <= config.depth * (
        config.width + 0.5
    )  # half a channel per block
    macs = [count_macs(replace(config, arm=arm)) for arm in arms]  # type: ignore[arg-type]
    assert macs[0] == macs[2]
    assert macs[0] < macs[3] < 1.08 * macs[0]


def test_sizes_of_our_own_configurations() -> None:
    sizes = {
        make_config: (count_parameters(make_config()), count_macs(make_config()))
        for make_config in (configs.tiny, configs.mnist, configs.cifar10)
    }
    assert sizes == {
        configs.tiny: (104_818, 1_039_104),
        configs.mnist: (726_476, 25_179_264),
        configs.cifar10: (32_501_772, 1_448_263_680),
    }
    alone = configs.tiny_sit()
    assert alone == replace(tiny(), arm=alone.arm)
    assert not alone.is_grouped
    assert not alone.has_state
    assert alone.is_labelled


def test_macs_by_hand() -> None:
    config = replace(SMALL, arm="sit", depth=1, mlp=2.0)  # 9 tokens of 4 values, width 16
    maps = 9 * (4 * 16 + 4 * 16**2 + 2 * 16 * 32 + 16 * 4)
    attention = 2 * 9 * 9 * 16
    of_image = 256 * 16 + 16 * 16 + 6 * 16 * 16 + 2 * 16 * 16
    assert count_macs(config) == maps + attention + of_image
    gated = replace(config, arm="arflow", matched=False)
    state = 2 * 9 * 16 * 8 + 2 * 8 * 8  # write and read by every token; decay
    assert count_macs(gated) - count_macs(config) == 9 * (16 * 16 + 16 * 2) + state


def test_a_fresh_network_puts_out_zeros() -> None:
    with seeded(0):
        model = build(SMALL).double()
    y, state = model(*batch(2, 3))
    assert not y.any()
    assert len(state) == SMALL.depth
    assert state[0].shape == (3, 2, 8, 8)


@pytest.mark.parametrize("arm", ["sit", "arflow"])
def test_what_an_image_sees(arm: Arm) -> None:
    model, (x, t, labels) = make(arm), batch(3, 2)
    for i in range(3):
        given = x.clone().requires_grad_()
        y, _ = model(given, t, labels)
        y[i, 0].sum().backward()
        reached = [[bool(own.any()) for own in image] for image in given.grad]  # type: ignore[union-attr]
        seen = [k <= i if arm == "arflow" else k == i for k in range(3)]
        assert reached == [[own, False] for own in seen]


def test_queries_keys_and_values_of_a_token_are_normed_over_all_channels() -> None:
    attention = make().blocks[0].attention
    assert isinstance(attention, HybridAttention)
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 9, 16, generator=rng, dtype=torch.float64)
    c = torch.randn(2, 3, 16, generator=rng, dtype=torch.float64)
    *found, g = attention.project(x, c)
    for own, raw, scale in zip(
        found, attention.qkv(x).chunk(3, -1), (1, 8**-0.5, 1), strict=True
    ):
        assert own.shape == (2, 3, 9, 2, 8)
        want = scale * raw / (raw.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        torch.testing.assert_close(own.flatten(-2), want)
    torch.testing.assert_close(g, F.logsigmoid(attention.decay(x + c[:, :, None])) / 16)


def test_steps_equal_the_whole_sequence_and_a_sit_ignores_the_sequence() -> None:
    for arm in ("sit", "arflow"):
        model, (x, t, labels) = make(arm), batch(4, 2)  # type: ignore[arg-type]
        whole, end = model(x, t, labels)
        state: tuple[Tensor, ...] = ()
        steps = []
        for low, high in pairwise((0, 1, 2, 3, 4)):
            y, state = model(x[low:high], t[low:high], labels[low:high], state)
            steps.append(y)
        torch.testing.assert_close(torch.cat(steps), whole, rtol=1e-10, atol=1e-10)
        assert len(state) == len(end) == (0 if arm == "sit" else SMALL.depth)
        for a, b in zip(state, end, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_a_batch_leaves_no_trace() -> None:
    model, first = make(), batch(3, 2)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    alone, _ = model(*first)
    model(*batch(5, 7))
    again, _ = model(*first)
    assert torch.equal(alone, again)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_the_state_is_as_large_after_many_images_and_stays_bounded() -> None:
    model, (x, t, labels) = make(), batch(1, 2)
    state: tuple[Tensor, ...] = ()
    sizes = []
    for _ in range(60):
        _, state = model(x, t, labels, state)
        sizes.append(float(state[0].detach().abs().max()))
    assert state[0].shape == (2, 2, 8, 8)
    assert sizes[-1] < 40 * sizes[0]


def test_a_label_and_its_absence_matter() -> None:
    model, (x, t, labels) = make("sit"), batch(1, 2)
    told, _ = model(x, t, labels)
    other, _ = model(x, t, (labels + 1) % 3)
    free, _ = model(x, t, torch.full_like(labels, 3))
    assert not torch.allclose(told, other)
    assert not torch.allclose(told, free)


def test_patches_come_row_by_row_and_join_again() -> None:
    config = replace(SMALL, source="cifar10")
    x = torch.arange(3 * 36.0).view(1, 1, 3, 6, 6)
    parts = split_patches(x, 2)
    assert parts.shape == (1, 1, 9, 12)
    assert parts[0, 0, 1].tolist() == [*(2, 3, 8, 9), *(38, 39, 44, 45), *(74, 75, 80, 81)]
    assert torch.equal(join_patches(parts, config), x)


def test_times_and_places_are_waves_of_falling_frequencies() -> None:
    t = torch.tensor([[0.3, 1.0]], dtype=torch.float64)
    angle = t[..., None] * 1e-4 ** (torch.arange(128, dtype=torch.float64) / 128)
    torch.testing.assert_close(embed_time(t), torch.cat([angle.cos(), angle.sin()], -1))
    found = embed_places(SMALL, t).view(3, 3, 16)  # width 16: four frequencies
    for row, column in ((0, 2), (2, 1)):
        own = [
            wave(place * 1e-4 ** (k / 4))
            for place in (column, row)
            for wave in (math.sin, math.cos)
            for k in range(4)
        ]
        assert found[row, column].tolist() == pytest.approx(own)


def test_places_are_told_apart_by_row_and_column() -> None:
    places = embed_places(SMALL, torch.zeros(1, dtype=torch.float64)).view(3, 3, 16)
    assert torch.equal(places[0, 2, :8], places[1, 2, :8])  # columns
    assert torch.equal(places[1, 0, 8:], places[1, 2, 8:])  # rows
    assert len(places.flatten(0, 1).unique(dim=0)) == 9


def test_images_and_states_of_others_are_refused() -> None:
    model, (x, t, labels) = make(), batch(2, 3)
    with pytest.raises(ValueError, match=r"images have shape \(1, 6, 5\), and the network"):
        model(x[..., :5], t, labels)
    _, state = model(x[:, :2], t[:, :2], labels[:, :2])
    with pytest.raises(ValueError, match=r"the state has shape \(2, 2, 8, 8\), and these"):
        model(x, t, labels, state)
    with pytest.raises(ValueError, match="has 2 blocks, and the state is of 1"):
        model(x, t, labels, state[:1])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"patch": 3}, "side is 8; it must be a multiple of patch, 3."),
        ({"heads": 5}, "width is 48; it must be a multiple of heads, 5."),
        ({"width": 54, "heads": 3}, "width is 54; it must be a multiple of 4 for positions"),
        ({"mlp": 1.0, "width": 4, "heads": 4}, "must have more weights than the gates"),
        ({"guidance": 1.5, "dropped": 0.0}, "it must be 1 where training hides no label"),
        ({"source": "latents"}, 'it must be a folder for source "latents"'),
        ({"data": "x"}, 'data is "x"; it must be empty for source "embedded"'),
    ],
)
def test_fields_that_contradict_each_other(change: dict[str, object], told: str) -> None:
    (problem,) = list_problems(replace(tiny(), **change))  # type: ignore[arg-type]
    assert told in problem
    with pytest.raises(ValueError, match="the configuration cannot be used"):
        build(replace(tiny(), **change))  # type: ignore[arg-type]


def test_guidance_needs_labels_and_all_problems_are_told_at_once() -> None:
    config = replace(tiny(), arm="sit_unlabelled", guidance=2.0, patch=3, heads=5)
    assert len(list_problems(config)) == 3
    assert "which has no labels" in "".join(list_problems(config))


@pytest.mark.parametrize(
    ("name", "side", "patch"),
    [
        *(("small", side, patch) for side in (16, 32) for patch in (2, 4, 8)),
        *(("base", 32, 2), ("large", 16, 4), ("xlarge", 32, 2)),
    ],
)
def test_full_sizes_map_latents_to_velocities(name: str, side: int, patch: int) -> None:
    config = replace(getattr(configs, name)(), side=side, patch=patch)
    with torch.device("meta"):
        model = build(config)
        x = torch.zeros(5, 2, 4, side, side)
        y, state = model(x, torch.zeros(5, 2), torch.zeros(5, 2, dtype=torch.int64))
    assert y.shape == x.shape
    assert len(state) == config.depth
    assert state[0].shape == (2, config.heads, 64, 64)
