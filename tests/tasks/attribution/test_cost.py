from dataclasses import replace
from typing import get_args

import pytest
from small_attribution import small_attribution

from neuro.base.seeds import seeded
from tasks.attribution.config import Arm
from tasks.attribution.deployment import PartCost, count_costs
from tasks.attribution.model import build


def test_costs_are_those_counted_by_hand() -> None:
    config = replace(small_attribution(), stack="softmax")
    attention = sum(4 * 24**2 + 2 * 24 * (k + 1) for k in range(25))
    lm = 2 * 7 * 24 + 3 * 24 + 4 * 24**2 + 3 * 24**2  # ends, norms, attention, unit
    lstm = 4 * 8 * (24 + 8 + 2)  # with two biases
    assert count_costs(config) == {
        "lm": PartCost(parameters=lm, macs=attention + 25 * 3 * 24**2, documents=1200),
        "probe": PartCost(
            parameters=1 + lstm + 8 * 2 + 2,
            macs=24 * (24 + 4 * 8 * (24 + 8) + 8 * 2),
            documents=120,
        ),
    }
    alone = count_costs(replace(config, arm="lm"))["lm"]
    assert alone.macs == attention - 4 * 24**2 - 2 * 24 * 25 + 24 * (3 * 24**2 + 24 * 7)
    mean = count_costs(replace(config, arm="mean", stack="mlgru*3"))["probe"]
    assert mean == PartCost(
        parameters=3 + 24 * 2 + 2, macs=24 * (3 * 24 + 24 * 2), documents=120
    )
    assert count_costs(replace(config, arm="random_lm"))["lm"].documents == 0


@pytest.mark.parametrize("arm", get_args(Arm))
def test_parameters_are_those_of_the_model(arm: str) -> None:
    config = replace(small_attribution(), arm=arm)  # type: ignore[arg-type]
    with seeded(0):
        model = build(config)
    counted = sum(cost.parameters for cost in count_costs(config).values())
    assert counted == sum(p.numel() for p in model.parameters())
