import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lava_export import lower, reference
from lava_export.run import available, run
from neuro.base.seeds import seeded
from neuro.base.units import Ticks
from neuro.events import simulate
from neuro.neurons.surrogate import spike
from neuro.nn import replay
from neuro.nn.trace import trace
from neuro.spikes import to_events
from neuro.spikes.record import Record
from tasks.images.generation import vae
from tasks.images.generation.config import GenerationConfig, ann, cifar10, full
from tasks.images.generation.latents import average_copies, delay_by_tick
from tasks.images.generation.layers import THRESHOLD, make_neurons, window
from tasks.images.generation.vae import GaussianVAE, SpikingVAE, mmd

SMALL = GenerationConfig(channels=(4, 6), latent=5, copies=3, ticks=Ticks(6))
MODELS = ["attention", "drawn", "membrane", "ann"]


def model(name: str, seed: int = 0) -> SpikingVAE | GaussianVAE:
    config = ann(SMALL) if name == "ann" else replace(SMALL, model=name)
    with seeded(seed):
        return GaussianVAE(config) if name == "ann" else SpikingVAE(config)


@cache
def seen(name: str) -> SpikingVAE:
    made = model(name)
    assert isinstance(made, SpikingVAE)
    with seeded(2), torch.no_grad():
        for _ in range(30):
            made(images(20, 6))
    return made.eval()


def experienced(name: str) -> SpikingVAE:
    """A spiking network in evaluation whose norms have seen some batches."""
    return deepcopy(seen(name))


def images(n: int, ticks: int) -> Tensor:
    x = torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return x.expand(ticks, *x.shape)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_the_full_network_has_the_published_size_part_by_part() -> None:
    with torch.device("meta"):
        made = SpikingVAE(full())
    encoder, decoder = made.encoder, made.decoder
    linear = ("fc_out", "norm_out", "fc_in", "norm_in")
    dense = sum(
        count(part)
        for stack in (encoder, decoder)
        for name, part in stack.named_children()
        if name in linear
    )
    found = {name: count(part) for name, part in made.named_children()}
    assert found == {
        "encoder": 388_320 + 131_328,
        "posterior": 1_513_984,
        "prior": 1_481_216,
        "decoder": 397_089 + 133_120,
        "decoding": 256,
    }
    assert dense == 131_328 + 133_120
    assert sum(found.values()) == 4_045_313


def watch_calls(layer: Any, add: Callable[[tuple[Tensor], Tensor], None]) -> None:
    """Have ``add`` called with input and output of each convolution of a layer."""
    convolve = layer._conv_forward

    def watched(x: Tensor, *rest: Any) -> Tensor:
        made: Tensor = convolve(x, *rest)
        add((x,), made)
        return made

    layer._conv_forward = watched


def test_an_image_takes_232_million_products_at_full_size() -> None:
    # The posterior runs twice, to draw and to learn. The published code runs it on every
    # prefix, which takes 389 million products.
    found: dict[str, int] = {}

    def add(name: str, layer: nn.Module, given: tuple[Tensor], made: Tensor) -> None:
        over = made[0, 0].numel() if isinstance(layer, nn.Conv2d) else 1
        if isinstance(layer, nn.ConvTranspose2d):
            over = given[0][0, 0].numel()
        found[name] = (
            found.get(name, 0) + len(made) * layer.get_parameter("weight").numel() * over
        )

    with seeded(0):
        made = SpikingVAE(full()).eval()
    for name, layer in made.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            part = "attention" if name.startswith("decoding") else name.partition(".")[0]
            if isinstance(layer, nn.Conv2d) and layer.in_channels == 1:
                # A layer with a hook is called for every tick, so this one is watched inside.
                watch_calls(layer, partial(add, part, layer))
            else:
                layer.register_forward_hook(partial(add, part))
    with torch.no_grad():
        made(torch.zeros(1, 1, 1, 32, 32).expand(16, 1, 1, 32, 32))
    ticks = 16
    assert found == {
        # The first convolution sees the same at every tick and is computed once.
        "encoder": 9 * 32 * 256 + ticks * (3 * 9 * 32 * 64 * 64 + 1024 * 128),
        "posterior": 2 * ticks * (256 * 256 + 256 * 512 + 512 * 2560),
        "prior": ticks * (128 * 256 + 256 * 512 + 512 * 2560),
        "decoder": ticks
        * (128 * 1024 + 3 * 9 * 64 * 32 * 64 + 9 * 32 * 32 * 256 + 9 * 32 * 1024),
        "attention": 256,
    }
    assert sum(found.values()) == 231_809_280


def test_colour_images_change_the_ends_alone() -> None:
    with torch.device("meta"):
        grey, colour = SpikingVAE(full()), SpikingVAE(cifar10())
    assert count(colour) - count(grey) == 2 * 288 + 2 * 288 + 2


def test_the_twin_without_spikes_has_the_same_convolutions() -> None:
    def convolutions(module: nn.Module) -> list[torch.Size]:
        kinds = (nn.Conv2d, nn.ConvTranspose2d)
        return [m.weight.shape for m in module.modules() if isinstance(m, kinds)][:-1]

    with torch.device("meta"):
        assert convolutions(SpikingVAE(full())) == convolutions(GaussianVAE(ann(full())))


@pytest.mark.parametrize("name", MODELS)
def test_images_come_back_in_their_size_and_range_with_a_gradient_for_every_weight(
    name: str,
) -> None:
    made, x = model(name), images(7, 1 if name == "ann" else 6)
    with seeded(1):
        image, distance = made(x, 0.5)
    assert image.shape == (7, 1, 8, 8)
    assert image.abs().max() <= 1
    (F.mse_loss(image, x[0]) + distance).backward()
    assert [n for n, p in made.named_parameters() if p.grad is None] == []
    assert distance >= 0


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_new_images_follow_the_generator_and_leave_the_network_as_it_was(name: str) -> None:
    made = model(name) if name == "ann" else experienced(name)
    made.train()
    before = {k: v.clone() for k, v in made.state_dict().items()}
    one, again, other = (made.generate(5, torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert one.shape == (5, 1, 8, 8)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert not one.requires_grad
    assert made.training
    assert all(torch.equal(v, before[k]) for k, v in made.state_dict().items())


def test_equal_seeds_start_equal_whatever_the_decoder() -> None:
    first, *others = (model(name, 3).state_dict() for name in MODELS[:3])
    for other in others:
        shared = [k for k in first if k in other]
        assert len(shared) == 74
        assert all(torch.equal(first[k], other[k]) for k in shared)


def test_the_prior_teaches_the_posterior_but_its_past_passes_no_gradient() -> None:
    made = model("attention")
    with seeded(1):
        made(images(7, 6), 0.0).distance.backward()
    for part in ("prior", "posterior", "encoder"):
        flow = [p.grad for n, p in made.named_parameters() if n.startswith(part)]
        assert sum(float(g.abs().sum()) for g in flow if g is not None) > 0
    assert all(p.grad is None for n, p in made.named_parameters() if n.startswith("deco"))


def test_the_prior_s_past_is_a_tick_old_in_evaluation_too() -> None:
    made = experienced("attention")
    x = images(7, 6)
    with torch.no_grad():
        with seeded(1):
            found = made(x).distance
        with seeded(1):
            z, q = made.latents(x)
        p = average_copies(made.prior(delay_by_tick(z))[0], SMALL.latent)
    assert z.any()
    assert torch.equal(found, mmd(q, p))


def test_the_prior_hears_its_own_bits_more_often_as_training_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = []

    def sample(_: nn.Module, z: Tensor, share: float) -> Tensor:
        told.append(share)
        return z

    monkeypatch.setattr(vae, "sample_scheduled", sample)
    made = model("attention").train()
    for at in (0.0, 0.5, 1.0):
        made(images(7, 6), at)
    assert told == pytest.approx([0.1, 0.2, 0.3])


def test_the_twin_s_latents_have_the_variance_that_its_distance_counts() -> None:
    made = model("ann")
    assert isinstance(made, GaussianVAE)
    with torch.no_grad():
        for p in (*made.mean.parameters(), *made.log_variance.parameters()):
            p.zero_()
        made.mean.bias.fill_(3.0)
        made.log_variance.bias.fill_(math.log(4))
        made.decoder = nn.Identity()
        z, distance = made(images(2000, 1))
    assert float(z.mean()) == pytest.approx(3, abs=0.06)
    assert float(z.var()) == pytest.approx(4, rel=0.05)
    assert float(distance) == pytest.approx(SMALL.latent * (9 + 4 - math.log(4) - 1) / 2)


def test_norms_start_at_alpha_times_the_threshold() -> None:
    alpha = {"encoder": 1, "posterior": 2, "prior": 2, "decoder": 1}
    made = model("attention")
    for part, times in alpha.items():
        gains = [p for n, p in made.get_submodule(part).named_parameters() if "norm" in n][::2]
        assert len(gains) == 3
        for gain in gains:
            assert torch.equal(gain, torch.full_like(gain, times * 0.2))


def test_a_neuron_is_the_published_one() -> None:
    lif = make_neurons()
    x = torch.tensor([0.1, 0.16, 0.19, 0.0, 0.3]).reshape(5, 1, 1).double()
    u, want = 0.0, []
    for current in x.flatten().tolist():
        u = 0.25 * u + current
        want.append(float(u >= 0.2))
        u = 0.0 if u >= 0.2 else u
    assert lif(x)[0].flatten().tolist() == want == [0, 0, 1, 0, 1]


def test_the_surrogate_is_centred_on_zero_and_not_on_the_threshold() -> None:
    u = torch.tensor([-0.51, -0.49, 0.0, 0.2, 0.49, 0.51], requires_grad=True)
    spike(u - THRESHOLD, window).sum().backward()
    assert u.grad is not None
    assert u.grad.tolist() == [0, 1, 1, 1, 1, 0]


def different(one: Record, other: Record, layers: tuple[str, ...]) -> float:
    """Return the number of spikes in only one record, relative to the first record's spikes."""
    pairs = [(set(zip(*r.spikes[n][:3], strict=True)) for r in (one, other)) for n in layers]
    found = [(len(a ^ b), len(a)) for a, b in pairs]
    return sum(x for x, _ in found) / sum(n for _, n in found)


@pytest.mark.parametrize("name", MODELS[:3])
def test_the_decoder_runs_on_the_event_engine_and_on_the_chip(name: str) -> None:
    made = experienced(name)
    with torch.no_grad():
        z, _ = made.latents(images(30, 6), torch.Generator().manual_seed(0))
        image = made.decode(z)
    graph = trace(made.decoder, (5,))
    x = {"input": to_events(z.numpy())}
    clock, (events, _) = replay(graph, x), simulate(graph, x)
    assert different(clock, events, graph.firing) == 0
    assert sum(len(clock.spikes[n].tick) for n in graph.firing) > 100
    currents = torch.from_numpy(events.values["image"]).float().reshape(6, 30, 1, 8, 8)
    torch.testing.assert_close(made.decoding(currents), image, rtol=0, atol=1e-5)
    integers = reference.run(lower(graph, ticks=6), x, 6)
    assert different(clock, integers, graph.firing) < 0.05


@pytest.mark.slow
@pytest.mark.lava
@pytest.mark.skipif(not available(), reason="lava-nc is not installed; make setup installs it")
def test_lava_paints_what_the_reference_paints_bit_for_bit() -> None:
    made = experienced("attention")
    z, _ = made.latents(images(3, 6), torch.Generator().manual_seed(0))
    program = lower(trace(made.decoder, (5,)), ticks=6)
    x = {"input": to_events(z.detach().numpy())}
    ours, lava = reference.run(program, x, 6), run(program, x, 6)
    assert sum(len(e.tick) for e in ours.spikes.values()) > 50
    for name, e in ours.spikes.items():
        assert all(np.array_equal(a, b) for a, b in zip(e, lava.spikes[name], strict=True))
    assert np.array_equal(ours.values["image"], lava.values["image"])
