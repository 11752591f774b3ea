"""What is trained: every mixer in every ratio, by seed."""

from collections import Counter
from dataclasses import replace

import pytest

from neuro.mixers import parse_stack
from tasks.language.bench.cells import (
    FULL,
    QUICK,
    VARIANTS,
    HybridCell,
    count_share,
    list_cells,
    make_config,
    make_stack,
    name_ratio,
)


def test_a_task_has_six_mixers_in_four_ratios_and_softmax_alone_by_three_seeds() -> None:
    cells = list_cells("text", FULL)
    assert len(cells) == len(set(cells)) == 3 * (6 * 4 + 1)
    assert [c.seed for c in cells] == [0] * 25 + [1] * 25 + [2] * 25
    assert cells[0] == HybridCell(task="text", variant="softmax", softmax=8, seed=0)
    recall = list_cells("recall", FULL)
    assert [c.seed for c in recall] == [0] * 75 + [1] * 75 + [2] * 75
    assert Counter(c.task for c in recall) == {"MQAR": 75, "needles": 75, "tracking": 75}
    assert {replace(c, task="text") for c in recall} == set(cells)
    assert Counter(c.variant for c in cells[1:25]) == dict.fromkeys(VARIANTS, 4)
    stacks = {make_config(c, FULL).stack for c in cells}
    assert len(stacks) == 25
    ratios = [name_ratio(FULL.layers, n) for n in (*FULL.softmax, FULL.layers)]
    assert ratios == ["pure", "7:1", "3:1", "1:1", "softmax"]


@pytest.mark.parametrize("softmax", [0, 1, 2, 4, 8])
def test_softmax_layers_are_evenly_spread_and_end_the_stack(softmax: int) -> None:
    layers = parse_stack(make_stack("gla", 8, softmax))
    places = [k for k, name in enumerate(layers, 1) if name == "softmax"]
    assert len(layers) == 8
    assert places == ([8 // softmax * (k + 1) for k in range(softmax)] if softmax else [])
    assert set(layers) - {"softmax"} == ({"gla"} if softmax < 8 else set())
    with pytest.raises(ValueError, match="8 layers are no multiple of 3 softmax layers"):
        make_stack("gla", 8, 3)


def test_both_parts_have_their_own_training_and_no_state_is_carried() -> None:
    scale = replace(FULL, steps=7, samples=9, lr=1e-2, text_steps=5, text_lanes=4, text_lr=2e-3)
    recall, text = (
        make_config(HybridCell(task=task, variant="gla", softmax=0, seed=0), scale)
        for task in ("MQAR", "text")
    )
    sizes = scale.sizes
    assert (recall.vocabulary, recall.tokens, recall.lanes) == (
        sizes.vocabulary,
        sizes.tokens,
        9,
    )
    assert (recall.steps, recall.lr, recall.validations) == (7, 1e-2, 1)
    assert (text.vocabulary, text.tokens, text.lanes) == (256, scale.text_tokens, 4)
    assert (text.steps, text.lr, text.held_out) == (5, 2e-3, scale.held_out)
    assert not recall.carries
    assert not text.carries


def test_layers_are_counted_in_whole_stacks() -> None:
    cells = [
        HybridCell(task="text", variant=v, softmax=n, seed=0)
        for v, n in (("gla", 0), ("gla", 2), ("hgrn", 4), ("softmax", 8))
    ]
    assert count_share(cells, "gla", 8) == 1 + 6 / 8
    assert count_share(cells, "hgrn", 8) == 4 / 8
    assert count_share(cells, "gdn", 8) == 0
    assert count_share(cells, "softmax", 8) == (2 + 4 + 8) / 8


def test_the_quick_size_has_the_ratios_that_findings_are_about() -> None:
    for scale in (FULL, QUICK):
        assert {"pure", "3:1", "1:1"} <= {name_ratio(scale.layers, n) for n in scale.softmax}
