"""The experiments of ``neuro bench flow``: each part trains several arms with several seeds.

An arm is a value of the field ``arm``. The judged metric is the feature-FD of generated images;
it was fixed before any training. Arms of one seed share the data, the number of images seen,
the sampler and the noise of generated images; equal networks also share initial weights.
An arm whose images see another image's past, or none, is compared with itself on its own past.
"""

from collections.abc import Mapping
from dataclasses import replace

from tasks.bench.experiment import Experiment, Variants
from tasks.flow.config import Arm, FlowConfig, mnist, tiny
from tasks.flow.cost import count_macs, count_parameters
from tasks.flow.data import count_steps
from tasks.flow.evaluate import CONTEXTS, FAD, FEATURE_FD, MATCH
from tasks.flow.loss import LOSS
from tasks.flow.sampler import count_calls
from tasks.runs.task import TaskRun

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
BASELINES = {ARFLOW: SIT, FREE_ARFLOW: FREE_SIT, FREE_SIT: SIT, GROUPED: SIT}
# CPU time on one slow core: 1.5 s per epoch and 3 s per context on digits; 190 s per training
# and 72 s per context on MNIST. Contexts with another image's states cost twice as much; only
# digits have them.
MNIST = replace(mnist(), train=25_000, steps=10, lent=False)
QUICK = replace(
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
)


def list_experiments(quick: bool) -> Mapping[str, Experiment]:
    """Return the experiments by part. quick: trainings too short to judge."""
    digits, images = (QUICK, replace(QUICK, lent=False)) if quick else (tiny(), MNIST)
    few, lengths = (1 if quick else 14), ((1, 2) if quick else (3, 9, 27))
    seeds = (0,) if quick else (0, 1, 2)
    two = {SIT: ARMS[SIT], ARFLOW: ARMS[ARFLOW]}
    three = {name: arm for name, arm in ARMS.items() if name != GROUPED}
    alone = replace(digits, lent=False)
    return {
        "digits": _experiment(
            "digits of 8 x 8 pixels",
            {name: _set_arm(digits, arm, few) for name, arm in ARMS.items()},
            (0,) if quick else tuple(range(6)),
        ),
        "seen": _experiment(
            "digits, by images seen",
            {
                f"{name}, {epochs} epochs": _set_arm(alone, arm, epochs)
                for epochs in lengths
                for name, arm in two.items()
            },
            seeds,
        ),
        "mnist": _experiment(
            "MNIST, patches of 4 x 4",
            {name: _set_arm(images, arm, 1 if quick else 2) for name, arm in three.items()},
            seeds,
            "flow:tiny" if quick else "flow:mnist",
        ),
        "short": _experiment(
            "digits, sequences of 2 and 3",
            {f"{ARFLOW}, n = {n}": _set_arm(alone, "arflow", few, n) for n in (2, 3)},
            (0,),
        ),
    }


def _set_arm(config: FlowConfig, arm: Arm, epochs: int, images: int = 5) -> FlowConfig:
    """Return the configuration of an arm.

    Every arm has the same number of images per batch, rounded down to whole sequences: 39
    instead of 40 for sequences of 3.
    """
    batch = config.batch * config.images // images
    return replace(config, arm=arm, epochs=epochs, images=images, batch=batch)


def _experiment(
    title: str, arms: Mapping[str, FlowConfig], seeds: tuple[int, ...], run: str = "flow:tiny"
) -> Experiment:
    found = {(config.arm, config.epochs): name for name, config in arms.items()}
    beside = {
        name: (found[ARMS[BASELINES[kind]], config.epochs],)
        for name, config in arms.items()
        if (kind := name.partition(",")[0]) in BASELINES
        and (ARMS[BASELINES[kind]], config.epochs) in found
    }
    return Experiment(
        title=title,
        run=run,
        arms=arms,
        seeds=seeds,
        seed_fields=("seed_of_data",),
        beside=beside,
        metrics=(FEATURE_FD, FAD, MATCH, LOSS),
        measures=read_contexts,
        costs=count_cost,
    )


def read_contexts(run: TaskRun) -> Variants:
    """Return the metrics of generated images by context, that is by whose past they see."""
    contexts: Variants = run.read("eval.json")[CONTEXTS]
    return contexts


def count_cost(config: FlowConfig, _: Mapping[str, float]) -> dict[str, int]:
    """Return parameters, MACs per call and image, calls per sample, and images seen."""
    images = config.epochs * count_steps(config) * config.batch * config.images
    return {
        "parameters": count_parameters(config),
        "MACs a call": count_macs(config),
        "calls": count_calls(config.sampler, config.steps, config.guidance),
        "images seen": images,
    }
