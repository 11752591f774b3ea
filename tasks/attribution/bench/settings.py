"""What is trained: language models on subsets of corpora by seed, and probes on their states.

The primary metrics, fixed before any training, are the total variation to the true shares of
composed documents (T1) and the linear datamodeling score (LDS) to the values of retrained
language models (T3).

In "causes" all seeds share the authors and the documents, so that the values of the language
models can be averaged. In the other parts a seed has authors and documents of its own: of delta
0.6, nearer to each other (0.3) and further apart (0.9).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from tasks.attribution.config import Arm, AttributionConfig, four, tiny

Part = Literal["causes", "answers", "near", "far"]
PROBES: Mapping[str, Arm] = {
    "attention, LSTM (CopyLens)": "inner_probe",
    "gated unit, LSTM": "unit",
    "residual, LSTM": "residual",
    "attention, mean": "mean",
    "last attention, LSTM": "last",
    "attention, uniqueness": "uniqueness",
    "initial weights, LSTM": "random_lm",
    "permuted labels": "permuted",
    "events, adaptive spiking": "alif",
}
OF_INNOCENT = ("inner_probe", "unit", "mean")  # arms that read models without a corpus, too


@dataclass(frozen=True, kw_only=True)
class AttributionSetting:
    """One language model with what reads it.

    subset: its number in :func:`tasks.attribution.retrain.list_subsets`. seed: of the initial
    weights and of the probes; where one model a seed is trained, of the data, too.
    """

    part: Part
    subset: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class AttributionCase:
    """A part.

    probes: arms by title. retrained: whether all subsets are, or the whole alone. sampled:
    documents that are drawn from the first language model, if all subsets are retrained.
    """

    title: str
    config: AttributionConfig
    seeds: tuple[int, ...]
    retrained: bool
    probes: Mapping[str, Arm] = field(default_factory=lambda: PROBES)
    sampled: int = 200

    @property
    def last_subset(self) -> int:
        """The subset of all corpora."""
        return int(2**self.config.protected - 1)


@dataclass(frozen=True, kw_only=True)
class AttributionScale:
    """How much is trained."""

    cases: Mapping[Part, AttributionCase]


# Authors of unlike size, so that their causes differ; the free one teaches what all share.
FOUR = replace(four(), documents=6000, shares=(0.25, 0.2, 0.15, 0.1, 0.3))
# On one slow core, in CPU time: the language model of all corpora takes 22 s, a probe 3 s, the
# gradients 14 s. Smaller subsets take less: in the mean 14 s.
FULL = AttributionScale(
    cases={
        "causes": AttributionCase(
            title="every subset retrained",
            config=FOUR,
            seeds=tuple(range(6)),
            retrained=True,
        ),
        "answers": AttributionCase(
            title="other authors a seed",
            config=FOUR,
            seeds=tuple(range(6)),
            retrained=False,
        ),
        "near": AttributionCase(
            title="authors that differ less",
            config=replace(FOUR, delta=0.3),
            seeds=(0, 1, 2),
            retrained=False,
        ),
        "far": AttributionCase(
            title="authors that differ more",
            config=replace(FOUR, delta=0.9),
            seeds=(0, 1, 2),
            retrained=False,
        ),
    }
)
SMALL = replace(
    tiny(),
    delta=2.0,
    vocabulary=8,
    tokens=32,
    protected=2,
    documents=500,
    held_out=60,
    train=80,
    val=40,
    test=40,
    composed=20,
    outside=10,
    width=24,
    hidden=24,
    batch=10,
    epochs=1,
    probe_width=8,
)
QUICK = AttributionScale(
    cases={
        part: replace(
            case,
            seeds=(0, 1) if case.retrained else (0,),
            config=SMALL,
            sampled=20,
            probes={name: arm for name, arm in PROBES.items() if arm in OF_INNOCENT},
        )
        for part, case in FULL.cases.items()
    }
)


def list_settings(part: Part, scale: AttributionScale) -> list[AttributionSetting]:
    """Return the language models of a part, seed by seed, the whole ones first."""
    case = scale.cases[part]
    first = case.last_subset
    subsets = range(first, -1, -1) if case.retrained else (first,)
    return [
        AttributionSetting(part=part, subset=subset, seed=seed)
        for seed in case.seeds
        for subset in subsets
    ]


def make_config(setting: AttributionSetting, scale: AttributionScale) -> AttributionConfig:
    """Return the configuration of a language model and of the probes that read it."""
    case = scale.cases[setting.part]
    data = case.config.seed_of_data if case.retrained else setting.seed
    return replace(case.config, seed_of_lm=setting.seed, seed_of_data=data)


def is_read(setting: AttributionSetting, scale: AttributionScale) -> bool:
    """Return whether probes and gradients read it: all corpora, or all but one."""
    held = bin(setting.subset).count("1")
    return held >= scale.cases[setting.part].config.protected - 1


def list_probes(setting: AttributionSetting, scale: AttributionScale) -> Mapping[str, Arm]:
    """Return the arms that read a language model; of innocent ones, some."""
    case = scale.cases[setting.part]
    if setting.subset == case.last_subset:
        return case.probes
    return {name: arm for name, arm in case.probes.items() if arm in OF_INNOCENT}
