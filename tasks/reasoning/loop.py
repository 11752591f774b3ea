"""A core in closed loop: an executor runs one program repeatedly and feeds back its own s.

Run i reads s_{i-1} + e, which a host adds, and returns s_i and its logits. So rounding errors
of one run enter the next. Axes: R runs, T tokens, B samples, D channels, V the vocabulary.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lava_export import available
from lava_export.graded import lower_graded, run_graded_on_lava, to_floats
from lava_export.graded.chip import GradedChipProgram
from neuro.energy import NetworkRuns, estimate_chips, find_hardware, join_estimates
from neuro.events import simulate
from neuro.graph import Graph
from neuro.nn.mixer_graph import DRIVEN, LOGITS, MEMBRANE, make_loop_graph
from neuro.nn.net import replay
from neuro.nn.recurrent_depth import Exits
from neuro.spikes import Events, to_events
from neuro.spikes.record import Record, concatenate
from tasks.reasoning.config import ReasoningConfig
from tasks.reasoning.deployment import embed_answers, pick_items
from tasks.reasoning.items import PAD
from tasks.reasoning.model import ReasoningModel

LOOPS = (1, 2, 4, 8)
CHIP = "loihi2"
LAVA_TICKS, ON_LAVA = 8, 4  # tokens and runs; few, as Lava starts a process for each stage

RunProgram = Callable[[Mapping[str, Events]], Record]


class LoopRuns(NamedTuple):
    """Logits, s and records of all runs of an executor."""

    logits: Float[Tensor, "R T B V"]
    membrane: Float[Tensor, "R T B D"]
    records: tuple[Record, ...]


def list_executors(graph: Graph) -> dict[str, RunProgram]:
    """Return the run function of each executor for an iteration, in float64 or in integers."""
    return {
        "torch": lambda inputs: replay(graph, inputs),
        "events": lambda inputs: simulate(graph, inputs)[0],
        "integers": GradedChipProgram(lower_graded(graph)).run,
    }


def run_loop(run: RunProgram, e: Float[Tensor, "T B D"], depth: int) -> LoopRuns:
    """Run the program ``depth`` times, each time with s of the run before."""
    driven = e.double().numpy()
    s, records = np.zeros_like(driven), list[Record]()
    for _ in range(depth):
        record = run({DRIVEN: to_events(driven + s)})
        s = record.values[MEMBRANE].astype(np.float64).reshape(driven.shape)
        records.append(record)
    logits, membrane = (
        torch.stack([torch.from_numpy(r.values[name].astype(np.float64)) for r in records])
        for name in (LOGITS, MEMBRANE)
    )
    return LoopRuns(logits, membrane, tuple(records))


def find_exits(logits: Float[Tensor, "R T B V"], exit_kl: float) -> Exits:
    """Find the exit of each token from the logits of all runs."""
    exits = Exits(exit_kl)
    for one in logits:
        exits.add(one, one)
    return exits


@torch.no_grad()
def measure_loops(config: ReasoningConfig, model: ReasoningModel) -> dict[str, float]:
    """Measure each executor in closed loop, by number of runs.

    - the share of exact answers to the first questions of the test split
    - the largest difference between its logits and those of torch
    - joules per answer on CHIP, and by the 45 nm convention for the same shape without spikes
    - the runs until all words of an item have reached the exit of ``exit_kl``
    - for one sample on Lava, the values of logits and s that differ from the integer reference
    """
    graph = make_loop_graph(model)
    e, words = embed_answers(config, model, pick_items(config, "test")[0])
    executors, values = list_executors(graph), dict[str, float]()
    found = {name: run_loop(run, e, LOOPS[-1]) for name, run in executors.items()}
    due = found["torch"].logits[:, -len(words) :]
    for name, runs in found.items():
        logits = runs.logits[:, -len(words) :]
        for r in LOOPS:
            right = share_right(logits[r - 1], words)
            apart = float((logits[r - 1] - due[r - 1])[words != PAD].abs().max())
            values |= {name_loop(f"{name}: accuracy", r): right}
            if name != "torch":
                values |= {name_loop(f"{name}: logits from torch", r): apart}
        exits = find_exits(logits, config.exit_kl)
        last = torch.where(words == PAD, 0, exits.depth).amax(0)
        values[f"{name}: accuracy at the exit"] = share_right(exits.hidden, words)
        values[f"{name}: runs up to the exit"] = float(last.double().mean())
    (chip,) = find_hardware([CHIP])
    for r in LOOPS:
        record = concatenate(list(found["events"].records[:r]))
        (one,) = estimate_chips(graph, record, [chip], ann_passes=len(e))
        priced = join_estimates({"": NetworkRuns(one, r)})
        values[name_loop(f"{CHIP}: joules", r)] = priced.whole_chip.nominal
        values[name_loop("45 nm, same shape without spikes: joules", r)] = priced.convention.ann
    if available():
        values["lava: values that differ"] = count_lava_differences(graph, e[:, :1])
    return values


def name_loop(what: str, runs: int) -> str:
    """Return the name of the value ``what`` after ``runs`` runs."""
    return f"{what}, r = {runs}"


def share_right(logits: Float[Tensor, "W B V"], words: Int64[Tensor, "W B"]) -> float:
    """Return the share of samples that say every target word."""
    right = (logits.argmax(-1) == words) | (words == PAD)
    return float(right.all(0).double().mean())


def count_lava_differences(graph: Graph, e: Float[Tensor, "T B D"]) -> int:
    """Return how many values of logits and s differ between Lava and the integer reference.

    Both run the first LAVA_TICKS tokens ON_LAVA times in closed loop.
    """
    program = lower_graded(graph)
    ours = run_loop(GradedChipProgram(program).run, e[:LAVA_TICKS], ON_LAVA)
    lava = run_loop(
        lambda inputs: to_floats(run_graded_on_lava(program, inputs)), e[:LAVA_TICKS], ON_LAVA
    )
    pairs = ((ours.logits, lava.logits), (ours.membrane, lava.membrane))
    return sum(int((one != other).sum()) for one, other in pairs)
