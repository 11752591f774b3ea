"""``neuro bench training``: training and inference steps beside other libraries."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from tasks.bench.comparison import Case, Pair
from tasks.bench.harness import Build, Run
from tasks.bench.peers import subjects_tick, subjects_training as subjects
from tasks.bench.peers.subjects_training import Work

NEURO, FLOOR = "neuro", "torch, dense layers alone"
LIBRARIES: Mapping[str, Callable[[Work, int], Run]] = {
    "SpikingJelly step": subjects.spikingjelly_step,
    "SpikingJelly multi-step": subjects.spikingjelly_multi,
    "Norse box": subjects.norse_box,
    "Norse LIF": subjects.norse_lif,
    "snnTorch": subjects.snntorch,
}
PEERS: Mapping[str, Callable[[Work, int], Run]] = {
    **LIBRARIES,
    "torch by ticks": subjects_tick.plain,
    "torch.compile by ticks": subjects_tick.compiled,
}
ALL: Mapping[str, Callable[[Work, int], Run]] = {
    NEURO: subjects.neuro,
    FLOOR: subjects.floor,
    **PEERS,
}
ALONE = ("Norse LIF",)  # its synaptic current makes it another network, never the best
SAME = tuple(name for name in PEERS if name not in ALONE)
SMALL = Work(name="tiny", ticks=3, batch=4)


def of_work(name: str, work: Work, subjects: Mapping[str, Build], *pairs: Pair) -> Case:
    """Return subjects with the same work, in milliseconds."""
    about = {"batch": work.batch, "ticks": work.ticks}
    return Case(
        name=name, subjects=subjects, pairs=pairs, unit="ms", per=1e-3, conditions=about
    )


def case(title: str, work: Work, targets: tuple[float, float]) -> list[Case]:
    """Return training and inference of a network; targets: ratios to the best library in each.

    No peer, a loop over ticks in torch included, may be faster or need less memory.
    """
    return [
        of_work(
            f"{title}, {what}",
            work,
            {name: partial(make, pair) for name, make in ALL.items()},
            Pair(NEURO, SAME, 1.0),
            Pair(NEURO, tuple(n for n in SAME if n in LIBRARIES), target),
            *(Pair(NEURO, (name,)) for name in (*PEERS, FLOOR)),
            Pair(NEURO, SAME, 1.0, by="memory"),
        )
        for what, pair, target in (
            ("training", replace(work, trains=True), targets[0]),
            ("inference", work, targets[1]),
        )
    ]


def digits(quick: bool) -> list[Case]:
    """Return two convolutions on images of 28 x 28."""
    work = Work(name="digits", ticks=8, batch=64)
    return case("2 convolutions, 28 x 28", SMALL if quick else work, (2.0, 3.0))


def dense(quick: bool) -> list[Case]:
    """Return 784-512-10, with 5 % active inputs per tick."""
    work = Work(name="dense", ticks=100, batch=64, share=0.05)
    work = replace(work, ticks=4, batch=4) if quick else work
    return case("784-512-10", work, (2.0, 6.0))


def cifar(quick: bool) -> list[Case]:
    """Return the network of Qiu et al. 2024 for CIFAR-10."""
    work = Work(name="cifar", ticks=8, batch=4)
    return case("6 convolutions, 32 x 32", SMALL if quick else work, (1.0, 1.0))


CASES: Mapping[str, Callable[[bool], list[Case]]] = {
    "digits": digits,
    "dense": dense,
    "cifar": cifar,
}
