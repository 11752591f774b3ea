import math
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest
import torch
from torch.utils._pytree import tree_leaves

from drivers.text import Bytes
from neuro.base.seeds import seeded
from neuro.graph import RMSNorm
from neuro.mixers import MIXERS, parse_stack
from neuro.nn.mixer_graph import make_graph
from neuro.nn.ternary import BitLinear, PackedLinear, pack_model
from tasks.language.config import (
    LanguageConfig,
    matmulfree_1b,
    matmulfree_3b,
    matmulfree_370m,
    small,
    small_eagle,
    small_finch,
    small_goose,
    small_matmulfree,
    small_rwkv6,
    small_spiking,
    small_transformer,
)
from tasks.language.generate import generate
from tasks.language.model import LanguageModel
from tasks.language.packed import make_empty
from tasks.language.task import build

SMALL = LanguageConfig(stack="+".join(MIXERS), width=16, hidden=24, heads=2)


def make(config: LanguageConfig) -> LanguageModel:
    with seeded(0):
        return LanguageModel(config).eval()


def count(config: LanguageConfig) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in build(config).parameters())


@pytest.mark.parametrize(
    ("config", "published", "exact", "tokens"),
    [
        (matmulfree_370m(), 370e6, 374_108_160, 15e9),
        (matmulfree_1b(), 1.3e9, 1_364_779_008, 100e9),
        (matmulfree_3b(), 2.7e9, 2_702_357_504, 100e9),
    ],
)
def test_published_sizes(
    config: LanguageConfig, published: float, exact: int, tokens: float
) -> None:
    assert config.steps * config.tokens * config.lanes == pytest.approx(tokens, rel=0.01)
    d, h, layers = config.width, config.hidden, len(config.layers)
    norms = 4 * d + d + d + h + 2 * d  # gains of ternary maps, of MLGRU and of the block
    layer = 4 * d * d + 3 * d * h + norms + d  # and the floor
    assert count(config) == layers * layer + 2 * 32_000 * d + 2 * d
    assert count(config) == pytest.approx(published, rel=0.05)
    assert count(config) == exact


def test_tiny_models_have_about_the_same_size() -> None:
    sizes = [
        count(make())
        for make in (
            *(small, small_transformer, small_matmulfree, small_rwkv6, small_spiking),
            *(small_eagle, small_finch, small_goose),
        )
    ]
    assert all(size == pytest.approx(sizes[0], rel=0.02) for size in sizes)


def list_eps(model: torch.nn.Module) -> list[float]:
    """Return eps of every norm: those of maps, mixers, blocks and the last one."""
    kinds = (BitLinear, PackedLinear, torch.nn.RMSNorm)
    return [m.eps for m in model.modules() if isinstance(m, kinds)]


@pytest.mark.parametrize("linear", ["ternary", "spiking"])
def test_all_norms_have_the_published_eps_or_another(linear: str) -> None:
    small = LanguageConfig(stack="mlgru*2", width=16, hidden=24, linear=linear)
    for config, eps in ((small, 1e-6), (replace(small, eps=1e-3), 1e-3)):
        trained = LanguageModel(config)
        for model in (trained, pack_model(trained), make_empty(config)):
            assert list_eps(model) == [eps] * (2 * (6 + 3) + 1 + 1)
        if linear == "spiking":
            nodes = make_graph(trained).nodes.values()
            found = [node.eps for node in nodes if isinstance(node, RMSNorm)]
            assert found == [eps] * (2 * (6 + 3) + 1 + 1)


def test_a_stack_is_read_from_a_line() -> None:
    assert parse_stack("hgrn2*3+softmax") == ("hgrn2", "hgrn2", "hgrn2", "softmax")
    for wrong in ("", "lstm", "mlgru*0", "mlgru*", "mlgru++softmax", "mlgru*-1"):
        with pytest.raises(ValueError, match="is no mixer, nor one with a number"):
            parse_stack(wrong)
    assert not LanguageConfig(stack="mlgru+softmax").carries
    assert LanguageConfig(stack="mlgru+gdn").carries


@pytest.mark.parametrize("linear", ["float", "ternary", "spiking"])
def test_a_text_in_parts_is_the_text_and_no_token_sees_the_next(linear: str) -> None:
    model = make(replace(SMALL, linear=linear))
    with seeded(1), torch.no_grad():
        tokens = torch.randint(256, (23, 2))
        whole, end = model(tokens)
        state, parts = None, []
        for part in tokens.split([5, 1, 17]):
            y, state = model(part, state)
            parts.append(y)
        changed = tokens.clone()
        changed[11:] = 7
        other, _ = model(changed)
    # In quantised maps a value may round the other way.
    close = {"rtol": 1e-4, "atol": 1e-4 if linear == "float" else 2e-2}
    torch.testing.assert_close(torch.cat(parts), whole, **close)
    for one, same in zip(tree_leaves(state), tree_leaves(end), strict=True):
        torch.testing.assert_close(
            one, same, rtol=1e-3, atol=1e-3 if linear == "float" else 0.1
        )
    torch.testing.assert_close(other[:11], whole[:11], **close)
    assert not torch.allclose(other[11:], whole[11:], atol=1e-3)


def test_floors_and_every_other_parameter_learn() -> None:
    model = make(replace(SMALL, linear="ternary")).train()
    logits, _ = model(torch.arange(30).view(15, 2))
    logits.square().sum().backward()
    without = [n for n, p in model.named_parameters() if p.grad is None]
    assert without == []
    assert model.floors is not None
    assert model.floors.grad is not None
    assert model.floors.grad.any()


def test_tokens_of_another_vocabulary_are_refused() -> None:
    with pytest.raises(ValueError, match="tokens from 3 to 256, and its vocabulary has 256"):
        make(SMALL)(torch.tensor([[3], [256]]))
    with pytest.raises(ValueError, match="width 130 is no multiple of 4 heads"):
        make(LanguageConfig(stack="rwkv6", width=130))


@pytest.mark.parametrize("linear", ["float", "ternary", "spiking"])
def test_generated_text_is_what_the_whole_text_predicts(linear: str) -> None:
    model = make(
        LanguageConfig(stack="mlgru+hgrn2", width=16, hidden=24, heads=2, linear=linear)
    )
    made = generate(model, Bytes(), b"ab", temperature=0.0)
    text = b"ab" + b"".join(next(made) for _ in range(8))
    with torch.no_grad():
        logits, _ = model(torch.tensor([0, *text[:-1]]).unsqueeze(1))
    assert bytes(logits[2:, 0].argmax(-1).tolist()) == text[2:]
    if linear != "float":
        packed = generate(pack_model(model), Bytes(), b"ab", temperature=0.0)
        assert b"ab" + b"".join(next(packed) for _ in range(8)) == text


class Watched(torch.nn.Module):
    """A model that records how many tokens each call reads."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model, self.read = model, list[int]()

    def forward(self, tokens: torch.Tensor, state: Any) -> Any:
        self.read.append(len(tokens))
        return self.model(tokens, state)


def test_a_long_prompt_is_read_in_parts_and_predicts_the_same() -> None:
    model = make(LanguageConfig(stack="mlgru+gla+softmax", width=16, hidden=24, heads=2))
    prompt = bytes(range(1, 150))
    watched = Watched(model)
    made = generate(watched, Bytes(), prompt, temperature=0.0)
    text = prompt + b"".join(next(made) for _ in range(3))
    assert watched.read == [64, 64, 22, 1, 1]
    with torch.no_grad():
        logits, _ = model(torch.tensor([0, *text[:-1]]).unsqueeze(1))
    assert bytes(logits[-3:, 0].argmax(-1).tolist()) == text[-3:]


@pytest.mark.parametrize(
    ("value", "told"), [(math.nan, "parameter head.weight"), (3e38, "layer head")]
)
def test_logits_that_are_not_finite_draw_nothing(value: float, told: str) -> None:
    model = make(LanguageConfig(stack="mlgru", width=16, hidden=24))
    with torch.no_grad():
        model.head.weight.fill_(value)
    for temperature in (0.0, 1.0):
        with pytest.raises(ValueError, match=f"no next token: {told} holds NaN or infinity"):
            next(generate(model, Bytes(), b"a", temperature))


def test_the_state_of_a_recurrent_model_does_not_grow() -> None:
    model = make(LanguageConfig(stack="mlgru+hgrn2+rwkv6+gdn", width=16, hidden=24, heads=2))
    sizes = []
    with torch.no_grad():
        for length in (1, 40):
            _, state = model(torch.zeros(length, 1, dtype=torch.int64))
            sizes.append(sum(leaf.numel() for leaf in tree_leaves(state)))
    assert sizes[0] == sizes[1]


def test_what_is_drawn_follows_from_the_seed_and_ends_with_the_text() -> None:
    model = make(LanguageConfig(stack="mlgru", width=16, hidden=24))
    drawn = [
        [next(made) for made in [generate(model, Bytes(), b"a", seed=seed)] for _ in range(9)]
        for seed in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    for temperature in (1e-300, 5e-324):  # the quotient is beyond what a float64 holds
        made = generate(model, Bytes(), b"b", temperature=temperature)
        greedy = generate(model, Bytes(), b"b", temperature=0.0)
        assert list(islice(made, 5)) == list(islice(greedy, 5))
    with torch.no_grad():
        model.head.weight.zero_()
    assert list(generate(model, Bytes(), b"a", temperature=0.0)) == []  # 0 ends a text
    for temperature in (math.inf, math.nan):
        with pytest.raises(ValueError, match="must be >= 0 and finite"):
            next(generate(model, Bytes(), b"a", temperature=temperature))
    with pytest.raises(ValueError, match="temperature must be >= 0 and finite, got -1"):
        next(generate(model, Bytes(), b"a", temperature=-1.0))
