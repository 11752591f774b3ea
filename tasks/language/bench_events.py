"""The experiment of ``neuro bench events_and_bits``: bits per byte against events and joules.

Spiking models, with the threshold that was always used, twice that threshold, and learned ones,
stand beside models that send inputs of 8, 4 and 2 bits as graded events, smaller ones of these,
their dense products, and a transformer with products of 8 bits. All trainings are equal. A
Loihi 2 is priced as in :mod:`tasks.language.price`; AbsMax also needs a maximum per token and
map, priced as another norm. The 45 nm convention counts arithmetic only.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from torch import Tensor, nn

from neuro.energy import find_chip, horowitz45
from neuro.nn.ternary import BitLinear, watch_inputs
from neuro.plot import LINE
from tasks.bench.experiment import Experiment, Variants, list_arms
from tasks.bench.plot import STYLE
from tasks.bench.rows import Row
from tasks.language.config import LanguageConfig, small
from tasks.language.data import NOTHING, batches
from tasks.language.price import (
    CHIP,
    TernarySynapses,
    TokenStep,
    describe_token,
    map_by_memory,
    price_token,
    send_all,
)
from tasks.language.task import BITS
from tasks.report.figures import save_png
from tasks.runs.task import Metric, TaskRun
from tasks.runs.trained_run import load_trained_model

READ = 4  # batches of the test part on which events are counted
SPIKES, GRADED, SOFTMAX = "spikes", "graded", "transformer"
DENSE = "dense"  # variant: every product is computed, also those with 0


def _name(name: str, unit: str, form: str = ".3g") -> Metric:
    return Metric(name=name, better="lower", unit=unit, format=form)


EVENTS = _name("events_per_token", "thousand", ".1f")
SENT = Metric(name="inputs_sent", better="lower", format=".1%")
CORE, GENERATION, PREFILL = (
    _name(f"{name}_energy", "µJ") for name in ("core", "generation", "prefill")
)
LEAKS, PREFILL_LEAKS = (
    Metric(name=f"leakage_of_{name}", better="lower", format=".0%")
    for name in ("generation", "prefill")
)
INT8, FLOAT = _name("int8_45_nm", "nJ"), _name("float32_45_nm", "nJ")
METRICS = (*(BITS, EVENTS, SENT, CORE, GENERATION, LEAKS, PREFILL, PREFILL_LEAKS, INT8, FLOAT),)
DRAWN = (EVENTS, CORE, GENERATION, INT8)
FAMILIES = {  # colours that people with any colour vision can distinguish, and marks
    SPIKES: ("#D55E00", "o"),
    GRADED: ("#0072B2", "s"),
    DENSE: ("#56B4E9", "D"),
    SOFTMAX: ("#009E73", "^"),
}


def list_experiments(quick: bool) -> Mapping[str, Experiment]:
    """Return both experiments. quick: one seed of trainings too short to judge."""
    base = replace(small(), stack="mlgru*2", width=64, hidden=176, tokens=128, steps=400)
    base = replace(base, validations=2)
    if quick:
        base = replace(base, width=32, hidden=48, tokens=16, steps=4, held_out=2000)
    few = {
        SPIKES: ("threshold 0.75", "threshold 0.75, penalty 0.4"),
        GRADED: ("8 bits", "4 bits", "8 bits, 0.75 of the width"),
    }
    chosen = [f"{of}: {name}" for of, names in few.items() for name in names]
    further = dict.fromkeys([*chosen, f"{SPIKES}: learned"], (1, 2))
    larger = list_arms_of(replace(base, stack="mlgru*4", width=96, hidden=264))
    shared: dict[str, Any] = {
        "run": "language:small_spiking",
        "seeds": (0,),
        "metrics": METRICS,
        "baseline": f"{GRADED}: 8 bits",
        "measures": measure_prices,
    }
    return {
        "small": Experiment(
            title="bits per byte, events and joules",
            arms=list_arms_of(base),
            further={} if quick else further,
            **shared,
        ),
        "larger": Experiment(
            title="the same with twice the layers",
            arms={a: larger[a] for a in chosen},
            **shared,
        ),
    }


def list_arms_of(base: LanguageConfig) -> Mapping[str, LanguageConfig]:
    """Return the arms of a size, by name."""
    spiking, ternary = replace(base, linear="spiking"), replace(base, linear="ternary")
    learned = replace(spiking, learns_threshold=True)
    softmax = replace(
        base, stack=base.stack.replace("mlgru", "softmax"), linear="int8", lr=2e-3
    )

    def shrink(name: str, config: LanguageConfig, share: float) -> dict[str, LanguageConfig]:
        """Return a configuration with a share of the width and of the hidden channels."""
        sizes = {k: 4 * round(share * getattr(base, k) / 4) for k in ("width", "hidden")}
        return {f"{name}, {share:g} of the width": replace(config, **sizes)}

    arms = {
        SPIKES: {
            "threshold 0.75": spiking,
            "threshold 1.5": replace(spiking, threshold=1.5),
            "threshold 0.75, penalty 0.4": replace(spiking, event_penalty=0.4),
            "learned": learned,
            "learned, penalty 0.4": replace(learned, event_penalty=0.4),
            "learned, penalty 1.5": replace(learned, event_penalty=1.5),
            **shrink("learned", learned, 0.75),
            "learned, 1 tick": replace(learned, ticks=1),
            "learned, 7 ticks": replace(learned, ticks=7, threshold=0.5),
            "learned, 127 ticks": replace(learned, ticks=127, threshold=2**-4),
        },
        GRADED: {
            "8 bits": ternary,
            "4 bits": replace(ternary, bits=4),
            "2 bits": replace(ternary, bits=2),
            **shrink("8 bits", ternary, 0.75),
            **shrink("8 bits", ternary, 0.5),
            **shrink("4 bits", replace(ternary, bits=4), 0.75),
        },
        SOFTMAX: {
            "8-bit products": softmax,
            **shrink("8-bit products", softmax, 0.75),
        },
    }
    return {f"{of}: {name}": config for of, own in arms.items() for name, config in own.items()}


def measure_prices(run: TaskRun) -> Variants:
    """Return the events and joules per token of a run and, for 8 bits, of dense products."""
    config: LanguageConfig = run.config
    model = load_trained_model(run)
    if config.linear == "int8":
        return {"": price_products(config, model)}
    token = measure_events(config, model)
    found = {"": price_events(config, token)}
    if config.linear == "ternary" and config.bits == 8:
        every = send_all(replace(token, synapses=tuple(map(_fill, token.synapses))))
        found[DENSE] = price_events(config, every, products=True)
        found[DENSE] |= {BITS.name: run.read("eval.json")[BITS.name]}
    return found


def _fill(s: TernarySynapses) -> TernarySynapses:
    return replace(s, nonzero=1.0)


@torch.no_grad()
def measure_events(config: LanguageConfig, model: nn.Module) -> TokenStep:
    """Return the operations per token, with the activity on the first test tokens."""
    sent = dict[BitLinear, Tensor]()
    state, tokens = None, 0
    for x, y in islice(batches(config, "test", 0), READ):
        with watch_inputs(model) as seen:
            _, state = model(x, state)
        read = y != NOTHING
        tokens += int(read.sum())
        for layer, _, counts in seen:
            sent[layer] = sent.get(layer, 0) + (counts[read] != 0).sum(0)
    maps = {_name_map(name): m for name, m in model.named_modules() if m in sent}
    token, parts = describe_token(config), []
    for s in token.synapses:
        name, half = s.name, slice(None)
        if "_up_" in name:
            name = name.rpartition("_")[0]
            half = slice(s.targets) if s.name.endswith("gate") else slice(s.targets, None)
        rate = sent[maps[name]].double() / tokens
        used = (maps[name].rounding(maps[name].weight)[0][half] != 0).double().sum(0)
        every = float(rate.sum()) * s.targets
        nonzero = float(rate @ used) / every if every else 0.0
        parts.append(replace(s, sending=float(rate.mean()), nonzero=nonzero))
    return replace(token, synapses=tuple(parts))


def _name_map(module: str) -> str:
    """Return the name in a price of a module of the model.

    >>> _name_map("blocks.0.mixer.forget"), _name_map("blocks.1.up"), _name_map("head")
    ('block0_forget', 'block1_up', 'logits')
    """
    if module == "head":
        return "logits"
    _, block, *_, name = module.split(".")
    return f"block{block}_{name}"


def add_maxima(token: TokenStep) -> TokenStep:
    """Return the same operations with the maximum of each map's inputs.

    It is a reduction like that of the second norm of each step, which the maps have anyway.
    """
    read = [0] * len(token.updates)
    for s in token.synapses:
        if not s.name.endswith("_up_value"):  # reads the same counts as up_gate
            read[s.step] += s.sources
    normed = tuple(n + own for n, own in zip(token.normed, read, strict=True))
    norms = tuple(n + (own > 0) for n, own in zip(token.norms, read, strict=True))
    return replace(token, normed=normed, norms=norms)


def price_events(
    config: LanguageConfig, token: TokenStep, products: bool = False
) -> dict[str, float]:
    """Return the figures of a token by metric; products: of multiply-accumulates at 45 nm."""
    chip = find_chip(CHIP)
    if config.linear == "ternary":
        token = add_maxima(token)
    price = price_token(token, chip, map_by_memory(token, chip))
    pairs = [s.sources * s.targets for s in token.synapses]
    sent = [n * s.sending for n, s in zip(pairs, token.synapses, strict=True)]
    events = sum(n * s.nonzero for n, s in zip(sent, token.synapses, strict=True))
    return {
        EVENTS.name: events / 1e3,
        SENT.name: sum(sent) / sum(pairs),
        CORE.name: price.core.nominal * 1e6,
        GENERATION.name: price.generation.nominal * 1e6,
        LEAKS.name: price.leakage,
        PREFILL.name: price.prefill.nominal * 1e6,
        PREFILL_LEAKS.name: 1 - price.core.nominal / price.prefill.nominal,
        **_price_at_45_nm(events, "mac" if products else "ac"),
    }


def price_products(config: LanguageConfig, model: nn.Module) -> dict[str, float]:
    """Return the 45 nm figures of a transformer; the text before a token is half a window."""
    maps = sum(m.weight.numel() for m in model.modules() if isinstance(m, BitLinear))
    attention = len(config.layers) * config.width * (config.tokens + 1)
    return _price_at_45_nm(float(maps + attention), "mac")


def _price_at_45_nm(count: float, operation: str) -> dict[str, float]:
    return {
        INT8.name: count * getattr(horowitz45("int8"), operation).value * 1e9,
        FLOAT.name: count * getattr(horowitz45(), operation).value * 1e9,
    }


@mpl.rc_context(STYLE)
def draw(rows: list[Row], path: Path) -> None:
    """Draw bits per byte against events and joules per token.

    A line joins the arms of a family and a size that no other of them beats in both; the larger
    size has dashes.
    """
    arms = list_arms(rows)
    sizes = dict.fromkeys(row.case for row in arms)
    figure = Figure((9.6, 7.2), layout="constrained")
    for ax, metric in zip(figure.subplots(2, 2).flat, DRAWN, strict=True):
        for family, (colour, mark) in FAMILIES.items():
            for size, line in zip(sizes, ("-", "--"), strict=False):
                points = [
                    (reached[metric.name]["mean"], reached[BITS.name]["mean"])
                    for row in arms
                    if row.case == size
                    and _find_family(row.subject) == family
                    and metric.name in (reached := row.conditions["reached"])
                ]
                best = [p for p in points if not any(q < p and q[1] < p[1] for q in points)]
                for kept, form in ((points, mark), (sorted(best), line)):
                    ax.plot([x for x, _ in kept], [y for _, y in kept], form, color=colour)
        ax.set(xscale="log", xlabel=f"{metric.label} [{metric.unit}]", ylabel="bits per byte")
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.grid(color=LINE, linewidth=0.5)
    for family, (colour, mark) in FAMILIES.items():
        figure.axes[0].plot([], [], mark, color=colour, label=family)
    figure.axes[0].legend()
    save_png(figure, path)


def _find_family(arm: str) -> str:
    return DENSE if arm.endswith(f", {DENSE}") else arm.partition(": ")[0]
