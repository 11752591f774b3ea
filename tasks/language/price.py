"""The energy and time per token on a chip that runs the whole spiking MatMul-free model.

The inputs are shapes, activity and the constants of a chip file; nothing is fitted. Ternary
maps are synapses that read graded spikes; norms, counts and gates are neuron updates
(microcode) on the cores of the synapses that reach them. Each layer has its own cores, so that

    prefill      a token enters at every step: the time per token is that of the slowest step
    generation   a token waits for the one before: the time per token is the sum of all steps

and all chips leak for that time. Every update costs as much as a neuron update in the chip
file; microcode of many instructions costs more, but no number is published. A norm adds two
steps: the squares go to one neuron, and the root comes back.
Axes: N neurons that send, M neurons that receive.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from lava_export.graded.report import store
from neuro.energy import Chip, Interval, find_chip
from neuro.energy.chip import sum_intervals
from neuro.energy.mapping import count_demand
from tasks.language.config import LanguageConfig, matmulfree_370m
from tasks.runs.task import Table

CHIP = "loihi2"
TERNARY = 2 / 3  # share of weights that are not 0 if -1, 0 and 1 are equally frequent
# Share of neurons that send. Not measured at 370M but in a model of four layers and width 128
# on English text, with up to 4 spikes and a threshold of 0.75.
SENDING = 0.596
PUBLISHED = {"millijoules": 70.8, "tokens": 59.4}  # 370M on several Loihi 2, arXiv 2406.02528v6


@dataclass(frozen=True, kw_only=True)
class TernarySynapses:
    """A ternary map, or a part of one.

    step: index of the step in which its counts are sent. sources, targets: N and M.
    sending: share of sources that send. nonzero: share of weights that are not 0.
    """

    name: str
    step: int
    sources: int
    targets: int
    sending: float = SENDING
    nonzero: float = TERNARY


@dataclass(frozen=True, kw_only=True)
class TokenStep:
    """The operations that a chip executes per token.

    synapses: ternary maps, in order. The other fields have one number per step:
    updates: neuron updates. normed: values that pass a norm. norms: norms in sequence.
    """

    synapses: tuple[TernarySynapses, ...]
    updates: tuple[int, ...]
    normed: tuple[int, ...]
    norms: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class CorePlan:
    """Number of cores of each part, by name, and the total number of chips."""

    cores: Mapping[str, int]
    chips: int


@dataclass(frozen=True, kw_only=True)
class TokenPrice:
    """Joules and seconds per token. core: joules without leakage."""

    core: Interval
    prefill: Interval
    prefill_seconds: Interval
    generation: Interval
    generation_seconds: Interval

    @property
    def leakage(self) -> float:
        """Share of leakage in the nominal joules of generation."""
        return 1 - self.core.nominal / self.generation.nominal


def describe_token(config: LanguageConfig) -> TokenStep:
    """Return the operations per token of a configuration, with the activity stated above."""
    d, h, v = config.width, config.hidden, config.vocabulary
    synapses, updates, normed, norms = [], [], [], []
    entering = 0  # updates of the sum at the start of a block; none after the embedding
    for k in range(len(config.layers)):
        parts = (
            ("forget", 0, d, d),
            ("candidate", 0, d, d),
            ("gate", 0, d, d),
            ("output", 1, d, d),
            ("up_gate", 2, d, h),
            ("up_value", 2, d, h),
            ("down", 3, h, d),
        )
        synapses += [
            TernarySynapses(name=f"block{k}_{name}", step=4 * k + at, sources=n, targets=m)
            for name, at, n, m in parts
        ]
        # Per step: neurons that receive, gate, norm and count (see neuro.nn.mixer_graph).
        updates += [entering + 7 * d, 11 * d, 5 * d, 7 * h]
        normed += [4 * d, 2 * d, 2 * d, h]
        norms += [2, 2, 2, 1]
        entering = 2 * d
    synapses.append(
        TernarySynapses(name="logits", step=4 * len(config.layers), sources=d, targets=v)
    )
    updates += [entering + 3 * d, v]
    return TokenStep(
        synapses=tuple(synapses),
        updates=tuple(updates),
        normed=(*normed, 2 * d, 0),
        norms=(*norms, 2, 0),
    )


def map_by_memory(token: TokenStep, chip: Chip) -> CorePlan:
    """Give each part the cores that its matrix needs by the limits of the chip file."""
    cores = {}
    for s in token.synapses:
        matrix, size = store(s.name, s.targets, s.sources), s.targets
        split = range(1, size + 1)  # neurons per core
        most = bisect_left(split, True, key=lambda n: _overflows(matrix, size, n, chip))
        cores[s.name] = math.ceil(size / max(most, 1))
    total = sum(cores.values())
    return CorePlan(cores=cores, chips=math.ceil(total / chip.limits.cores.value))


def _overflows(matrix: Any, size: int, neurons: int, chip: Chip) -> bool:
    need = count_demand([matrix], size, neurons, chip.limits)
    return any(n > getattr(chip.limits, limit).value for limit, n in need.items())


def map_by_blocks(token: TokenStep, blocks: int, chip: Chip) -> CorePlan:
    """Give each block one chip, with cores in proportion to weights, and the logits another.

    This is the published mapping of 370M, which does not mention a chip for the logits. It does
    not check whether the weights fit.
    """
    cores = {}
    for k in range(blocks):
        own = [s for s in token.synapses if s.name.startswith(f"block{k}_")]
        weights = sum(s.sources * s.targets for s in own)
        for s in own:
            share = s.sources * s.targets / weights
            cores[s.name] = max(1, math.floor(share * chip.limits.cores.value))
    cores["logits"] = int(chip.limits.cores.value)
    return CorePlan(cores=cores, chips=blocks + 1)


def price_token(token: TokenStep, chip: Chip, mapping: CorePlan) -> TokenPrice:
    """Return the price of a token with the low, nominal and high constants of the chip file.

    Weights of 0 are free in low and nominal, but cost as much as others in high.
    """
    core = sum_intervals([_price_core(s, chip, mapping) for s in token.synapses])
    core += chip.energy.active.interval * sum(token.updates)
    reduced = 2 * sum(token.normed)  # squares in, roots out
    core += (chip.energy.synapse.interval + chip.energy.message.interval) * reduced
    bounds = {
        bound: _time_steps(token, chip, mapping, bound) for bound in ("low", "value", "high")
    }
    sync = chip.time.sync.interval
    barrier = Interval(sync.low, chip.barrier[-1].time.value, sync.high)
    waits = [1 + 2 * norms for norms in token.norms]
    prefill = Interval(*(max(times) for times in bounds.values())) + barrier
    generation = Interval(*(sum(times) for times in bounds.values())) + barrier * sum(waits)
    leak = chip.power.static.interval * mapping.chips
    return TokenPrice(
        core=core,
        prefill=core + leak * prefill,
        prefill_seconds=prefill,
        generation=core + leak * generation,
        generation_seconds=generation,
    )


def _price_core(s: TernarySynapses, chip: Chip, mapping: CorePlan) -> Interval:
    """Return the joules of the synaptic events and messages of a part."""
    sent = s.sources * s.sending
    every = sent * s.targets
    events = Interval(every * s.nonzero, every * s.nonzero, every)
    cores, sides = mapping.cores[s.name], chip.limits.tile_rows.value
    columns = math.ceil(chip.limits.cores.value / chip.limits.tile_cores.value / sides)
    # The mean distance of two random places on a line of length n is n / 3.
    hops = Interval(0.0, columns / 3, float(columns)) * chip.energy.hop_x.interval
    hops += Interval(0.0, sides / 3, float(sides)) * chip.energy.hop_y.interval
    messages = (chip.energy.message.interval + hops) * (sent * cores)
    crossing = chip.energy.crossing.interval * (sent if mapping.chips > 1 else 0.0)
    return events * chip.energy.synapse.interval + messages + crossing


def _time_steps(token: TokenStep, chip: Chip, mapping: CorePlan, bound: str) -> list[float]:
    """Return the seconds of the busiest core in each step, without the barrier."""
    cost = {k: getattr(v, bound) for k, v in vars(chip.time).items()}
    out = []
    for step, updates in enumerate(token.updates):
        # Neurons share the cores of the synapses that reach them, which belong to the step
        # before; those of step 0 have no such synapses and take the cores of step 0.
        reached = [s for s in token.synapses if s.step == max(step - 1, 0)]
        busy = updates / sum(mapping.cores[s.name] for s in reached) * cost["active"]
        served = [0.0]
        for s in (s for s in token.synapses if s.step == step):
            sent = s.sources * s.sending
            each = sent * math.ceil(s.targets / mapping.cores[s.name])
            each *= 1.0 if bound == "high" else s.nonzero
            served.append(each * cost["synapse"] + sent * cost["message"])
        out.append(max(busy, max(served)))
    return out


def send_all(token: TokenStep) -> TokenStep:
    """Return the same operations with every neuron sending, as on the measured chips."""
    return replace(token, synapses=tuple(replace(s, sending=1.0) for s in token.synapses))


def measure_token(config: LanguageConfig, energies: Mapping[str, Any]) -> TokenStep:
    """Return the operations per token of a run, with the activity in its ``energy.json``."""
    token, layers = describe_token(config), energies[CHIP]["layers"]
    tokens, parts = energies[CHIP]["ticks"], []
    for s in token.synapses:
        ops = layers[f"{s.name}_synapses"]
        every = ops["synaptic_events_all"]
        parts.append(
            replace(
                s,
                sending=every / (tokens * s.sources * s.targets),
                nonzero=ops["synaptic_events"] / every if every else 0.0,
            )
        )
    return replace(token, synapses=tuple(parts))


def tabulate_prices(
    config: LanguageConfig, _: nn.Module, energies: Mapping[str, Any]
) -> Sequence[Table]:
    """Return joules and speed per token of a run and of 370M, and the published measurement.

    energies: ``energy.json`` of the run.
    """
    chip, big = find_chip(CHIP), matmulfree_370m()
    own, published = measure_token(config, energies), describe_token(big)
    blocks = map_by_blocks(published, len(big.layers), chip)
    cases = (
        ("this run, activity measured", own, map_by_memory(own, chip)),
        ("370M, by the memory of the chip file", published, map_by_memory(published, chip)),
        ("370M, a block a chip as published", published, blocks),
        ("370M, a block a chip, all neurons send", send_all(published), blocks),
    )
    priced = [
        (name, mapping, price_token(token, chip, mapping)) for name, token, mapping in cases
    ]
    rows = [_make_row(*case) for case in priced]
    measured = PUBLISHED["millijoules"], PUBLISHED["tokens"]
    source = "370M, measured (arXiv 2406.02528v6)"
    rows.append([source, "several", "", *(f"{x:g}" for x in measured), "", "", "", ""])
    ratios = ", ".join(f"{name}: {_compare(price)}" for name, _, price in priced[1:])
    return (
        Table(
            title=f"A token on {chip.hardware}, all of the model on the chip",
            head=(
                "model and mapping",
                "chips",
                "cores",
                "generation [mJ]",
                "generation [tokens/s]",
                "low ... high [mJ]",
                "of it leakage",
                "prefill [mJ]",
                "prefill [tokens/s]",
            ),
            rows=rows,
            caption=(
                "An inference of the tables of energy is "
                f"{energies[CHIP]['ticks']} tokens, a row here is one. 370M: {SENDING:.1%} of "
                "neurons send, or all, as on the chips "
                "that were measured; two thirds of weights are not 0. Leakage of all chips "
                "times the time of a token is given as a share of the nominal energy of "
                f"generation. Computed over measured, generation: {ratios}. No constant is "
                "fitted to the measurement; updates of microcode are priced as those of a "
                "plain neuron, and the links between chips, the host and waiting for it are "
                "not in the time."
            ),
        ),
    )


def _make_row(name: str, mapping: CorePlan, price: TokenPrice) -> list[str]:
    milli = price.generation * 1e3
    return [
        name,
        str(mapping.chips),
        str(sum(mapping.cores.values())),
        f"{milli.nominal:.3g}",
        _format_rate(1 / price.generation_seconds.nominal),
        f"{milli.low:.3g} ... {milli.high:.3g}",
        f"{price.leakage:.0%}",
        f"{price.prefill.nominal * 1e3:.3g}",
        _format_rate(1 / price.prefill_seconds.nominal),
    ]


def _format_rate(value: float) -> str:
    """Format a number with four significant digits and without an exponent."""
    return f"{float(f'{value:.4g}'):,.12g}"


def _compare(price: TokenPrice) -> str:
    joules = price.generation.nominal * 1e3 / PUBLISHED["millijoules"]
    speed = 1 / price.generation_seconds.nominal / PUBLISHED["tokens"]
    return f"energy x {joules:.2g}, speed x {speed:.2g}"
