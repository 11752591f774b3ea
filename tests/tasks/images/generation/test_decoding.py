import pytest
import torch
from torch import Tensor

from neuro.base.seeds import seeded
from neuro.base.units import Ticks
from neuro.neurons import LI
from neuro.nn.layers import DT
from tasks.images.generation.config import GenerationConfig, Model
from tasks.images.generation.layers import make_decoder
from tasks.images.generation.vae import Attention, DrawnAttention, Membrane, make_decoding

TICKS, B, C, SIDE = 4, 2, 3, 5


def currents() -> Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.randn(TICKS, B, C, SIDE, SIDE, generator=rng, dtype=torch.float64)


def integrator(model: Model) -> LI:
    made = make_decoder(GenerationConfig(model=model, channels=(4, 8), latent=3))
    found = made.get_submodule("image").model
    assert isinstance(found, LI)
    return found


def test_the_membrane_decoder_is_a_sum_that_fades_by_a_fifth_a_tick() -> None:
    x, membranes, li = currents(), [], integrator("membrane")
    state = li.initial(x[0])
    for x_t in x:
        v, state = li.step(x_t, state, DT)
        membranes.append(v)
    want = torch.tanh(sum(0.8 ** (TICKS - 1 - t) * x[t] for t in range(TICKS)))
    torch.testing.assert_close(Membrane()(torch.stack(membranes)), want, rtol=0, atol=1e-14)


@pytest.mark.parametrize("model", ["attention", "drawn"])
def test_the_other_decoders_read_the_current_of_each_tick_alone(model: Model) -> None:
    assert float(integrator(model).coefficients(DT).decay) == 0


def test_attention_weighs_each_tick_and_channel_by_the_means_of_all_ticks() -> None:
    with seeded(0):
        attention = Attention(TICKS).double()
    x, weight = currents(), attention.mix.weight
    assert sum(p.numel() for p in attention.parameters()) == TICKS**2
    for b in range(B):
        for c in range(C):
            mean = [x[t, b, c].mean() for t in range(TICKS)]
            image = torch.zeros(SIDE, SIDE, dtype=torch.float64)
            for s in range(TICKS):
                logit = sum(weight[s, t] * mean[t] for t in range(TICKS))
                image = image + x[s, b, c] / (1 + torch.exp(-logit))
            torch.testing.assert_close(attention(x)[b, c], torch.tanh(image))


def test_drawn_attention_weighs_each_tick_alone() -> None:
    with seeded(0):
        drawn = DrawnAttention(TICKS).double()
    x = currents()
    assert drawn.factor.tolist() == [1.0] * TICKS
    with torch.no_grad():
        drawn.factor.copy_(torch.tensor([1.0, -2.0, 0.5, 3.0]))
    for b in range(B):
        mean = torch.stack([x[t, b].mean() for t in range(TICKS)])
        first, _, last = drawn.mlp
        hidden = (first.weight @ mean + first.bias).clamp(min=0)
        a = 1 / (1 + torch.exp(-(last.weight @ hidden + last.bias)))
        image = sum(drawn.factor[t] * a[t] * x[t, b] for t in range(TICKS))
        assert isinstance(image, Tensor)
        torch.testing.assert_close(drawn(x)[b], torch.tanh(image))


def test_each_model_has_its_own_decoding() -> None:
    kinds = {"membrane": Membrane, "attention": Attention, "drawn": DrawnAttention}
    for model, kind in kinds.items():
        assert type(make_decoding(GenerationConfig(model=model, ticks=Ticks(3)))) is kind  # type: ignore[arg-type]
