"""What is trained: in each part its arms, by seed; an arm is a change of fields.

The primary metric, fixed before any training, is the share of exact answers on the test split.
Every latent arm stands beside the same curriculum with a learned embedding in the place of
thoughts, which reaches nearly as much in an ablation of Hao et al. 2024 (arXiv 2412.06769,
"pause as thought": 96.6 against 97.0 % on ProsQA).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from tasks.reasoning.config import (
    ORDERS,
    Order,
    ReasoningConfig,
    multiplication,
    reachability,
    sudoku,
    tiny,
    tiny_depth,
)

Part = Literal[
    "reachability",
    "multiplication",
    "mixers",
    "sudoku",
    "reversal",
    "addition",
    "hop",
    "hops",
    "spiking_loop",
]
Change = Mapping[str, object]
DIFFUSION, LEFT_TO_RIGHT = "diffusion", "autoregressive"
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
    """A part: a configuration, and the arms that change fields of it.

    controls: arms beside which all others stand; the first is the peer of their rows. further:
    seeds of an arm beside those of the scale, where a difference needs more pairs. by_order:
    whether the weights of a diffusion also have a row for each other order of filling.
    """

    title: str
    config: ReasoningConfig
    arms: Mapping[str, Change] = field(default_factory=lambda: ARMS)
    controls: tuple[str, ...] = (PLAIN, PAUSE)
    further: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    by_order: bool = False

    def list_seeds(self, arm: str, scale: "ReasoningScale") -> tuple[int, ...]:
        """Return the seeds of an arm."""
        return (*scale.seeds, *(self.further.get(arm, ()) if len(scale.seeds) > 1 else ()))


@dataclass(frozen=True, kw_only=True)
class ReasoningScale:
    """How much is trained."""

    cases: Mapping[Part, ReasoningCase]
    seeds: tuple[int, ...] = (0, 1, 2)


HYBRID = "DeltaNet, softmax"  # that of the configurations
STACKS: Mapping[str, Change] = {
    HYBRID: {},
    "softmax": {"stack": "softmax*2"},
    "RWKV-6": {"stack": "rwkv6*2"},
    "Gated DeltaNet": {"stack": "gdn*2"},
    "spiking MatMul-free": {"stack": "mlgru*2", "linear": "spiking"},
}
# 8 of 16 cells are holes: few enough that some hole always has one candidate left.
GRIDS = replace(sudoku(), arm="none")
# Validation and test share the 20 pairs that are trained from one end alone.
NAMES = replace(
    GRIDS,
    puzzle="reversal",
    stack="softmax*2",
    size=40,
    train=60,
    val=10,
    test=10,
    batch=20,
    epochs=400,
)
FILLED: Mapping[str, Change] = {LEFT_TO_RIGHT: {}, DIFFUSION: {"arm": "diffusion"}}
WHOLE: Change = {"arm": "diffusion", "mask_question": True}
ONCE, TWICE, UNROLLED = "a core once", "the core twice", "its 2 blocks unrolled to 4"
PAIR = "deltanet+softmax"  # the core
LOOPED: Mapping[str, Change] = {
    ONCE: {},
    TWICE: {"depth": 2, "injection": "membrane"},
    UNROLLED: {"stack": f"{PAIR}+{PAIR}"},
}
STEPPED: Mapping[str, Change] = {**LOOPED, COT: {"arm": "cot"}}
HOP = replace(
    tiny(), arm="icot", train=1600, test=300, first_epochs=3, stage_epochs=3, epochs=8
)
HOPS = replace(HOP, size=2, stages=2, epochs=12)
SUMS = replace(HOPS, puzzle="addition", size=4, train=1500, stages=3, stage_epochs=2, epochs=10)
SPIKING, FLOAT = "spiking core", "the same core of floats"
CORES: Mapping[str, Change] = {SPIKING: {}, FLOAT: {"linear": "float"}}
FULL = ReasoningScale(
    cases={
        "reachability": ReasoningCase(
            title="graphs of 8 nodes, one of two targets",
            config=reachability(),
            further={"Coconut": (3, 4, 5), PAUSE: (3, 4, 5)},
        ),
        "multiplication": ReasoningCase(
            title="products of 2-digit numbers",
            config=multiplication(),
            arms={k: v for k, v in ARMS.items() if k != "Coconut"},
        ),
        "mixers": ReasoningCase(
            title="graphs of 8 nodes by chain of thought",
            config=replace(reachability(), arm="cot", epochs=6),
            arms=STACKS,
            controls=(HYBRID,),
        ),
        "sudoku": ReasoningCase(
            title="4 x 4 grids with 8 holes",
            config=GRIDS,
            arms=FILLED,
            controls=(LEFT_TO_RIGHT,),
            by_order=True,
        ),
        "reversal": ReasoningCase(
            title="40 pairs of names, asked for in the other direction",
            config=NAMES,
            arms={**FILLED, "diffusion of whole sentences": WHOLE},
            controls=(LEFT_TO_RIGHT,),
        ),
        "addition": ReasoningCase(
            title="sums of 4 digits modulo 10",
            config=SUMS,
            arms={arm: own for arm, own in STEPPED.items() if arm != UNROLLED},
            controls=(ONCE,),
        ),
        "hop": ReasoningCase(
            title="a letter 1 hop back in 64",
            config=HOP,
            arms=LOOPED,
            controls=(ONCE, UNROLLED),
        ),
        "hops": ReasoningCase(
            title="a letter 2 hops back in 64",
            config=HOPS,
            arms=STEPPED,
            controls=(ONCE, UNROLLED),
        ),
        "spiking_loop": ReasoningCase(
            title="graphs of 8 nodes, one program run again and again",
            config=replace(
                tiny_depth(),
                puzzle="reachability",
                size=8,
                width=64,
                hidden=128,
                train=3000,
                val=100,
                test=300,
            ),
            arms=CORES,
            controls=(FLOAT,),
        ),
    }
)
SMALL: Change = {
    **{"width": 16, "hidden": 16, "heads": 2, "train": 40, "val": 8, "test": 10, "batch": 20},
    **{"stages": 2, "first_epochs": 1, "stage_epochs": 1, "epochs": 3},
}
QUICK = ReasoningScale(
    cases={
        part: replace(case, config=replace(case.config, **SMALL))  # type: ignore[arg-type]
        for part, case in FULL.cases.items()
    },
    seeds=(0,),
)


def name_order(arm: str, order: Order) -> str:
    """Return the title of the weights of an arm, asked in an order."""
    return arm if order == ORDERS[0] else f"{arm}, {order} order"


def list_settings(part: Part, scale: ReasoningScale) -> list[ReasoningSetting]:
    """Return the trainings of a part, seed by seed: what was trained at any time are pairs."""
    case = scale.cases[part]
    seeds = {arm: case.list_seeds(arm, scale) for arm in case.arms}
    every = sorted({seed for own in seeds.values() for seed in own})
    return [
        ReasoningSetting(part=part, arm=arm, seed=seed)
        for seed in every
        for arm, own in seeds.items()
        if seed in own
    ]


def make_config(setting: ReasoningSetting, scale: ReasoningScale) -> ReasoningConfig:
    """Return the configuration of one training."""
    case = scale.cases[setting.part]
    changed = replace(case.config, **case.arms[setting.arm])  # type: ignore[arg-type]
    return replace(changed, seed_of_data=setting.seed)
