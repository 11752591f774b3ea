"""What is trained: in each part its arms, by seed; an arm is a change of fields.

The primary metric, fixed before any training, is the share of exact answers on the test split.
Every latent arm stands beside the same curriculum with a learned embedding in the place of
thoughts, as that control has been found to reach as much (96.6 against 97.0 % on ProsQA).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from tasks.reasoning.config import ReasoningConfig, reachability

Part = Literal["reachability", "multiplication"]
Change = Mapping[str, object]
PLAIN, COT, PAUSE = "no chain of thought", "chain of thought", "pauses, same curriculum"
ARMS: Mapping[str, Change] = {
    PLAIN: {"arm": "none"},
    COT: {"arm": "cot"},
    "iCoT": {"arm": "icot"},
    "Coconut": {"arm": "coconut"},
    PAUSE: {"arm": "pause"},
    "CODI": {"arm": "codi"},
}


@dataclass(frozen=True, kw_only=True)
class ReasoningSetting:
    """One training. arm: its title. seed: of the weights, the items and their order."""

    part: Part
    arm: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class ReasoningCase:
    """A part: a configuration, and the arms that change fields of it."""

    title: str
    config: ReasoningConfig
    arms: Mapping[str, Change] = field(default_factory=lambda: ARMS)


@dataclass(frozen=True, kw_only=True)
class ReasoningScale:
    """How much is trained."""

    cases: Mapping[Part, ReasoningCase]
    seeds: tuple[int, ...] = (0, 1, 2)


# A training of these sizes takes one to two minutes on one slow core. The convolutions of Gated
# DeltaNet bind neighbours, which softmax attention takes many more samples to learn.
GRAPHS = replace(
    reachability(),
    stack="gdn*2",
    size=8,
    width=64,
    hidden=128,
    train=4000,
    val=200,
    batch=32,
    lr=3e-3,
    stages=2,
    first_epochs=5,
    stage_epochs=1,
    epochs=9,
)
PRODUCTS = replace(
    GRAPHS,
    puzzle="multiplication",
    size=2,
    train=3000,
    test=400,
    first_epochs=8,
    stage_epochs=2,
    epochs=13,
)
FULL = ReasoningScale(
    cases={
        "reachability": ReasoningCase(
            title="graphs of 8 nodes, one of two targets", config=GRAPHS
        ),
        "multiplication": ReasoningCase(title="products of 2-digit numbers", config=PRODUCTS),
    }
)
SMALL: Change = {
    **{"width": 16, "hidden": 16, "heads": 2, "train": 40, "val": 8, "test": 12, "batch": 20},
    **{"stages": 2, "first_epochs": 1, "stage_epochs": 1, "epochs": 3},
}
QUICK = ReasoningScale(
    cases={
        part: replace(case, config=replace(case.config, **SMALL))  # type: ignore[arg-type]
        for part, case in FULL.cases.items()
    },
    seeds=(0,),
)


def list_settings(part: Part, scale: ReasoningScale) -> list[ReasoningSetting]:
    """Return the trainings of a part, seed by seed: what was trained at any time are pairs."""
    return [
        ReasoningSetting(part=part, arm=arm, seed=seed)
        for seed in scale.seeds
        for arm in scale.cases[part].arms
    ]


def make_config(setting: ReasoningSetting, scale: ReasoningScale) -> ReasoningConfig:
    """Return the configuration of one training."""
    case = scale.cases[setting.part]
    changed = replace(case.config, **case.arms[setting.arm])  # type: ignore[arg-type]
    return replace(changed, seed_of_data=setting.seed)
