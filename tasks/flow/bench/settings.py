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

Part = Literal["digits", "seen", "mnist", "short"]
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
    epochs: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class FlowCase:
    """A part: a configuration, its arms, the lengths of its sequences and its seeds.

    images: lengths of sequences. epochs: lengths of trainings. skipped: contexts that are not
        measured.
    """

    title: str
    config: FlowConfig
    seeds: tuple[int, ...]
    arms: Mapping[str, Arm] = field(default_factory=lambda: ARMS)
    images: tuple[int, ...] = (5,)
    epochs: tuple[int, ...] = (1,)
    skipped: tuple[Context, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FlowScale:
    """How much is trained."""

    cases: Mapping[Part, FlowCase]


# On one slow core, in CPU time: an epoch of digits takes 1.5 s, and a context 3 s; a training
# on MNIST takes 190 s, and a context 72 s. States are lent on digits alone, at twice the cost.
LENT: tuple[Context, ...] = ("same class", "other class", "other image")
MNIST = replace(mnist(), train=25_000, steps=10)
FULL = FlowScale(
    cases={
        "digits": FlowCase(
            title="digits of 8 x 8 pixels",
            config=tiny(),
            seeds=tuple(range(6)),
            epochs=(14,),
        ),
        "seen": FlowCase(
            title="digits, by images seen",
            config=tiny(),
            seeds=(0, 1, 2),
            arms={SIT: "sit", ARFLOW: "arflow"},
            epochs=(3, 9, 27),
            skipped=LENT,
        ),
        "mnist": FlowCase(
            title="MNIST, patches of 4 x 4",
            config=MNIST,
            seeds=(0, 1, 2),
            arms={name: arm for name, arm in ARMS.items() if name != GROUPED},
            epochs=(2,),
            skipped=LENT,
        ),
        "short": FlowCase(
            title="digits, sequences of 2 and 3",
            config=tiny(),
            seeds=(0,),
            arms={ARFLOW: "arflow"},
            images=(2, 3),
            epochs=(14,),
            skipped=LENT,
        ),
    }
)
QUICK = FlowScale(
    cases={
        part: replace(
            case,
            seeds=(0,),
            epochs=(1, 2) if len(case.epochs) > 1 else (1,),
            config=replace(
                tiny(),
                width=16,
                heads=2,
                depth=1,
                train=200,
                held=50,
                test=80,
                batch=20,
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
        FlowSetting(part=part, arm=arm, images=images, epochs=epochs, seed=seed)
        for seed in case.seeds
        for images in case.images
        for epochs in case.epochs
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
        epochs=setting.epochs,
        batch=seen // setting.images,
        seed_of_data=setting.seed,
    )


def name_arm(setting: FlowSetting, scale: FlowScale) -> str:
    """Return the title of an arm, with what a part varies: lengths of sequences, epochs."""
    case = scale.cases[setting.part]
    name = setting.arm
    if len(case.images) > 1:
        name = f"{name}, n = {setting.images}"
    if len(case.epochs) > 1:
        name = f"{name}, {setting.epochs} epochs"
    return name


def find_baseline(setting: FlowSetting, scale: FlowScale) -> str:
    """Return the title of the arm that an arm stands beside; "" where there is none."""
    baseline = BASELINES.get(setting.arm, "")
    return name_arm(replace(setting, arm=baseline), scale) if baseline else ""
