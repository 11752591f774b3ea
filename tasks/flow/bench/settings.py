"""What is trained: in each part its arms, by seed; an arm is one field.

The primary metric, fixed before any training, is the feature-FD of new images. Arms of a seed
share the data, the number of images seen, the sampler and the noise of their samples; arms with
equal networks share initial weights, too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from tasks.flow.config import Arm, FlowConfig, mnist, tiny
from tasks.flow.generate import Context

Part = Literal["digits", "mnist", "short"]
SIT, ARFLOW = "SiT", "ARFlow"
FREE_SIT, FREE_ARFLOW = "SiT without labels", "ARFlow without labels"
GROUPED = "SiT on the batches of ARFlow"
ARMS: Mapping[str, Arm] = {
    SIT: "sit",
    ARFLOW: "arflow",
    FREE_SIT: "sit_unlabelled",
    FREE_ARFLOW: "arflow_unlabelled",
    GROUPED: "sit_grouped",
}
BASELINES: Mapping[str, str] = {  # what each arm stands beside
    ARFLOW: SIT,
    FREE_ARFLOW: FREE_SIT,
    FREE_SIT: SIT,
    GROUPED: SIT,
}


@dataclass(frozen=True, kw_only=True)
class FlowSetting:
    """One training. arm: its title. images: of a sequence. seed: of weights and data."""

    part: Part
    arm: str
    images: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class FlowCase:
    """A part: a configuration, its arms, the lengths of its sequences and its seeds.

    skipped: contexts that are not measured.
    """

    title: str
    config: FlowConfig
    seeds: tuple[int, ...]
    arms: Mapping[str, Arm] = field(default_factory=lambda: ARMS)
    images: tuple[int, ...] = (5,)
    skipped: tuple[Context, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FlowScale:
    """How much is trained."""

    cases: Mapping[Part, FlowCase]


# On one slow core, in CPU time: a training of "digits" takes a third of a minute, and a context
# of it 3 s; a training of the others 80 s, and 72 s a context, twice that if states are lent.
MNIST = replace(mnist(), train=20_000, epochs=1, steps=10)
FULL = FlowScale(
    cases={
        "digits": FlowCase(
            title="digits of 8 x 8 pixels", config=tiny(), seeds=tuple(range(6))
        ),
        "mnist": FlowCase(
            title="MNIST, patches of 4 x 4",
            config=MNIST,
            seeds=(0, 1, 2),
            skipped=("same class",),
        ),
        "short": FlowCase(
            title="MNIST, sequences of 2 and 3",
            config=MNIST,
            seeds=(0,),
            arms={ARFLOW: "arflow"},
            images=(2, 3),
            skipped=("same class",),
        ),
    }
)
QUICK = FlowScale(
    cases={
        part: replace(
            case,
            seeds=(0,),
            config=replace(
                tiny(),
                width=16,
                heads=2,
                depth=1,
                train=200,
                held=50,
                test=80,
                batch=20,
                epochs=1,
                steps=2,
                samples=80,
            ),
        )
        for part, case in FULL.cases.items()
    }
)


def list_settings(part: Part, scale: FlowScale) -> list[FlowSetting]:
    """Return the trainings of a part, seed by seed: what was trained at any time are pairs."""
    case = scale.cases[part]
    return [
        FlowSetting(part=part, arm=arm, images=images, seed=seed)
        for seed in case.seeds
        for images in case.images
        for arm in case.arms
    ]


def make_config(setting: FlowSetting, scale: FlowScale) -> FlowConfig:
    """Return the configuration of one training.

    Every batch has as many images, or as many as fill whole sequences: 39 of 40 for sequences
    of 3.
    """
    case = scale.cases[setting.part]
    seen = case.config.batch * case.config.images
    return replace(
        case.config,
        arm=case.arms[setting.arm],
        images=setting.images,
        batch=seen // setting.images,
        seed_of_data=setting.seed,
    )


def name_arm(setting: FlowSetting, scale: FlowScale) -> str:
    """Return the title of an arm, with the length of its sequences where a part has several."""
    several = len(scale.cases[setting.part].images) > 1
    return f"{setting.arm}, n = {setting.images}" if several else setting.arm
