"""The cost of a recurrent core, and Huginn at its published size."""

from dataclasses import replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from tasks.reasoning.config import huginn, tiny
from tasks.reasoning.cost import count_macs, count_parameters, count_token_macs
from tasks.reasoning.items import ANSWER, SPEAK
from tasks.reasoning.model import build
from tasks.runs.configuration import list_problems

D, HIDDEN, WORDS = 5280, 17_920, 65_536


def test_parameters_of_huginn_follow_from_its_sizes() -> None:
    block = 4 * D**2 + 3 * D * HIDDEN + 4 * D  # four norms
    adapter, embedding, norm = 2 * D**2, WORDS * D, D
    found = count_parameters(huginn())
    assert found == 8 * block + adapter + embedding + norm == 3_564_892_320
    assert abs(found / 3.5e9 - 1) < 0.02  # published: 3.5B
    assert list_problems(huginn()) == []
    with torch.device("meta"):
        model = build(huginn())
    core = sum(p.numel() for p in model.blocks.parameters()) + adapter
    assert round(core / 1e9, 1) == 1.6  # published: 1.5B in the recurrent core
    assert model.head.weight is model.embedding.weight


def test_macs_of_a_token_of_huginn_are_those_of_132_layers() -> None:
    with torch.device("meta"):
        model = build(huginn())
    context = 100
    layer = 4 * D**2 + 3 * D * HIDDEN + 2 * D * (context + 1)
    want = (2 + 32 * 4 + 2) * layer + 32 * 2 * D**2
    assert count_token_macs(replace(huginn(), exit_kl=0.0), model, context) == want
    assert 53e9 < want < 55e9
    assert count_token_macs(huginn(), model, context) == want + 31 * 2 * layer  # codas


def test_an_exit_costs_what_torch_multiplies() -> None:
    config = replace(
        tiny(), arm="none", depth=3, stack="mlgru", prelude="mlgru", coda="mlgru", exit_kl=1e-9
    )
    for own, codas in ((config, 3), (replace(config, exit_kl=0.0), 1)):
        model = build(own).eval()
        tokens, said = torch.full((6, 1), 6), torch.tensor([[SPEAK], [ANSWER]])
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            reading = model.listen(model.think(tokens, 0), said)
            model.head(reading.hidden[-1:])
            word = model.read(model.embedding(tokens[:1]), reading.state)
            model.head(word.hidden)
        gates = 9 * (1 + 3 + codas) * 2 * 32  # gates of MLGRU, which are not matrix products
        assert count_macs(own, 5, 2) == counter.get_total_flops() / 2 + gates


def test_a_reading_of_huginn_has_its_shapes() -> None:
    config = replace(huginn(), depth=2, exit_kl=0.0)
    with torch.device("meta"):
        model = build(config).eval()
        reading = model.read(model.embedding(torch.zeros(3, 1, dtype=torch.int64)))
    assert reading.hidden.shape == (3, 1, D)
    assert len(reading.state) == 2 + 2 * 4 + 2
    assert reading.state[0].k.shape == (3, 1, 55, 96)


def test_an_iteration_costs_a_core_and_its_adapter() -> None:
    once = replace(tiny(), arm="none", depth=1, stack="gdn")
    deep = replace(once, depth=5, prelude="softmax")
    plain = replace(once, depth=0)
    read = 6 + 2 + 1  # 5 + BEGIN, SPEAK, ANSWER, the first of 2 words
    core = count_macs(once, 5, 2) - count_macs(plain, 5, 2)
    assert core == read * 2 * 32**2
    first = count_macs(replace(once, stack="softmax", depth=0), 5, 2)
    vocabulary = 2 * 32 * len_words(plain)
    assert count_macs(deep, 5, 2) == (
        5 * (count_macs(once, 5, 2) - vocabulary) + first - vocabulary + vocabulary
    )


def len_words(config: object) -> int:
    with torch.device("meta"):
        return build(config).vocabulary  # type: ignore[arg-type]
