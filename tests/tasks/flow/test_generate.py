"""Generated images: contexts, guidance, and images that do not depend on their batch."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from neuro.base.seeds import seeded
from tasks.flow.config import Arm, FlowConfig, tiny
from tasks.flow.generate import (
    Start,
    draw_start,
    generate,
    generate_path,
    list_contexts,
    make_velocity,
    run,
)
from tasks.flow.model import FlowModel, build

CONFIG = replace(tiny(), width=16, heads=2, side=4, steps=4, classes=3)


def make(arm: Arm = "arflow", **change: object) -> tuple[FlowConfig, FlowModel]:
    config = replace(CONFIG, arm=arm, **change)  # type: ignore[arg-type]
    with seeded(0):
        model = build(config)
        for p in model.parameters():
            nn.init.normal_(p, std=0.2)
    return config, model


def test_noise_of_the_first_images_does_not_depend_on_their_number() -> None:
    few, many = draw_start(CONFIG, 3, 5), draw_start(CONFIG, 8, 5)
    assert torch.equal(few.noise, many.noise[:3])
    assert many.labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert not torch.equal(few.noise, few.donors)
    assert not torch.equal(few.noise, draw_start(CONFIG, 3, 6).noise)
    assert torch.equal(few.seeds, many.seeds[:3])
    assert len(many.seeds.unique()) == 16
    assert not set(few.seeds.flatten().tolist()) & set(
        draw_start(CONFIG, 3, 6).seeds.flatten().tolist()
    )


def test_noise_on_the_way_differs_from_image_to_image_and_from_what_they_begin_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A batch may have any size, because each image and each donor has its own generator."""
    config, model = make(sampler="sde", steps=2)
    start = draw_start(config, 5, 0)
    whole = generate(config, model, start)
    monkeypatch.setattr("tasks.flow.generate.AT_ONCE", 2)
    torch.testing.assert_close(generate(config, model, start), whole, rtol=1e-5, atol=1e-5)

    def still(x: Tensor, _: float, state: Any) -> tuple[Tensor, Any]:
        return x, state  # t = 0: x + h (v - x) = x

    drawn = [
        run(config, still, start.noise, seeds)[0].x - start.noise for seeds in start.seeds.T
    ]
    every = torch.cat([*drawn, (2 * 0.96) ** 0.5 * start.noise]).flatten(1).double()
    apart = (every[:, None] - every[None]).square().mean(-1) + 9 * torch.eye(15)
    assert float(apart.min()) > 0.5  # the mean is 2 * 1.92


def test_donors_on_the_way_of_an_sde_do_not_share_the_noise_of_those_that_they_lend_to() -> (
    None
):
    config, model = make(sampler="sde")
    start = draw_start(config, 4, 0)._replace(donors=draw_start(config, 4, 0).noise)
    own = generate(config, model, start)
    assert not torch.allclose(own, generate(config, model, start, "same class"))
    twin = start._replace(seeds=start.seeds[:, :1].expand(-1, 2))
    torch.testing.assert_close(own, generate(config, model, twin, "same class"))


def test_a_single_class_has_no_other() -> None:
    config = replace(CONFIG, classes=1)
    assert list_contexts(config) == ("own", "reset", "same class")


@pytest.mark.parametrize("sampler", ["euler", "heun", "sde"])
def test_contexts_change_images_of_arflow_alone(sampler: str) -> None:
    config, model = make(sampler=sampler)
    start = draw_start(config, 6, 0)
    found = {c: generate(config, model, start, c) for c in list_contexts(config)}
    assert list(found) == ["own", "reset", "same class", "other class"]
    names = list(found)
    for k, one in enumerate(names):
        for other in names[k + 1 :]:
            assert not torch.allclose(found[one], found[other])
    own, sit = make("sit", sampler=sampler)
    assert list_contexts(own) == ("own",)
    with pytest.raises(ValueError, match=r'^flow: arm "sit" has no context "reset"; .* own$'):
        generate(own, sit, start, "reset")


def test_a_start_that_does_not_fit_is_refused_with_all_that_is_wrong() -> None:
    config, model = make()
    start = draw_start(config, 4, 0)
    wrong = Start(
        noise=start.noise[:3].double(),
        donors=start.donors / 0,
        labels=start.labels + 1,
        seeds=start.seeds,
    )
    told = [
        'flow: arm "arflow" has no context "other image"; give one of own, reset, same class, '
        "other class",
        "flow: the start has 3 noise, 4 donors, 4 labels, 4 seeds; give one of each an image",
        "flow: labels go from 1 to 3; give classes 0 to 2",
        "flow: noise is of torch.float64; give torch.float32, as the weights",
        "flow: donors holds a value that is not finite; draw it anew",
    ]
    for make_images in (generate, generate_path):
        with pytest.raises(ValueError, match="flow") as refused:
            make_images(config, model, wrong, "other image")
        assert str(refused.value).splitlines() == told


def test_without_a_state_path_a_reset_changes_nothing() -> None:
    """If k and v are zero, no state is written, and all contexts give the same images."""
    config, model = make()
    for block in model.blocks:
        block.attention.qkv.weight.data[config.width :] = 0  # type: ignore[union-attr,index]
        block.attention.qkv.bias.data[config.width :] = 0  # type: ignore[union-attr,index]
    start = draw_start(config, 3, 0)
    own = generate(config, model, start)
    for context in ("reset", "same class", "other class"):
        assert torch.equal(own, generate(config, model, start, context))


def test_donors_of_the_same_noise_and_class_are_the_image_itself() -> None:
    config, model = make()
    start = draw_start(config, 3, 0)
    twin = start._replace(donors=start.noise)
    own = generate(config, model, twin)
    torch.testing.assert_close(own, generate(config, model, twin, "same class"))
    assert not torch.allclose(own, generate(config, model, twin, "other class"))


def test_without_labels_others_are_of_an_unknown_class() -> None:
    config, model = make("arflow_unlabelled")
    assert list_contexts(config) == ("own", "reset", "other image")
    start = draw_start(config, 3, 0)
    other = start._replace(labels=(start.labels + 1) % 3)
    assert torch.equal(generate(config, model, start), generate(config, model, other))


@pytest.mark.parametrize("sampler", ["euler", "sde"])
def test_samples_do_not_depend_on_the_rest_of_the_batch_nor_on_batches_before(
    sampler: str,
) -> None:
    config, model = make(sampler=sampler)
    start = draw_start(config, 5, 0)
    all_of_them = generate(config, model, start)
    alone = generate(config, model, Start(*(x[2:3] for x in start)))
    torch.testing.assert_close(alone[0], all_of_them[2], rtol=1e-5, atol=1e-5)
    assert torch.equal(generate(config, model, start), all_of_them)
    assert model.training  # as before


def test_guidance_of_one_is_none_bit_for_bit_and_more_is_the_sum_of_two_branches() -> None:
    config, model = make()
    start = draw_start(config, 3, 0)
    plain = generate(config, model, start)
    assert torch.equal(plain, generate(replace(config, guidance=1.0), model, start))
    guided = replace(config, guidance=2.0, steps=1)
    (step,) = generate_path(guided, model, start)
    with torch.no_grad():
        at = torch.zeros(1, 3)
        cond, _ = model(start.noise[None], at, start.labels[None])
        free, _ = model(start.noise[None], at, torch.full((1, 3), 3))
    torch.testing.assert_close(step.x, start.noise + (free + 2 * (cond - free))[0])


def test_latents_are_guided_in_their_first_three_channels() -> None:
    config = replace(CONFIG, source="latents", data="x", guidance=1.5)
    assert (config.colours, config.guided) == (4, 3)
    with seeded(0):
        model = build(config)
        for p in model.parameters():
            nn.init.normal_(p, std=0.2)
    x, labels = torch.randn(2, 4, 4, 4), torch.tensor([0, 2])
    with torch.no_grad():
        guided, _ = make_velocity(config, model, labels)(x, 0.4, None)
        plain, _ = make_velocity(replace(config, guidance=1.0), model, labels)(x, 0.4, None)
    assert torch.equal(guided[:, 3], plain[:, 3])
    assert not torch.allclose(guided[:, :3], plain[:, :3])


def test_the_way_has_an_image_for_each_step() -> None:
    config, model = make()
    way = generate_path(config, model, draw_start(config, 2, 0))
    assert [step.t for step in way] == [0.25, 0.5, 0.75, 1.0]
    assert way[0].x.shape == (2, 1, 4, 4)
