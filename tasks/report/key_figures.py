"""The key figures of a run, on top of its report."""

import shlex
from collections.abc import Mapping
from typing import Any

from neuro.io.run_folder import Run
from tasks.report import tables as show
from tasks.report.html import Figure


def command(run: Run, verb: str) -> str:
    """Return what to type for a verb to do its work on a run."""
    return f"neuro {verb} {shlex.quote(str(run.folder))}"


def key_figures(run: Run, found: Mapping[str, Any]) -> list[Figure]:
    """Return what eval, verify and energy found, or the verb that finds it."""
    evaluation, verify, joules = found["eval"], found["verify"], found["energy"]
    out = _evaluated(evaluation) if evaluation else [_unknown(run, "on test samples", "eval")]
    out += _agreement(verify) if verify else [_unknown(run, "do executors agree?", "verify")]
    out += _prices(joules) if joules else [_unknown(run, "energy per inference", "energy")]
    return out


def _evaluated(evaluation: Mapping[str, Any]) -> list[Figure]:
    n = f"{evaluation['n']:,} {evaluation['split']} samples"
    if "accuracy" in evaluation:
        return [Figure("accuracy, torch", f"{evaluation['accuracy']:.2%}", n)]
    notes = evaluation.get("notes", {})
    return [
        Figure(k, show.figure(v), notes.get(k, n)) for k, v in show.figures(dict(evaluation))
    ]


def _unknown(run: Run, label: str, verb: str) -> Figure:
    return Figure(label, "–", f"not measured yet: {command(run, verb)}")


def _agreement(verify: Mapping[str, Any]) -> list[Figure]:
    both, lava = verify["torch_events"], verify["reference_lava"]
    spikes = sum(layer["spikes"] for layer in both["layers"].values())
    out = _accuracies(verify) if verify["accuracy"] else []
    out += [Figure("torch ≠ events", f"{both['mismatches']:,}", f"of {spikes:,} spikes")]
    if "skipped" in lava:
        return [*out, Figure("reference ≠ Lava", "not run", lava["skipped"])]
    note = f"in {lava['samples']} samples, all layers"
    return [*out, Figure("reference ≠ Lava", f"{lava['mismatches']:,}", note)]


def _accuracies(verify: Mapping[str, Any]) -> list[Figure]:
    events, integers = (verify["accuracy"][who] for who in ("events", "integers"))
    lost = f"{100 * (events - integers):.2f} points lost by quantisation"
    return [
        Figure("accuracy, events", f"{events:.2%}", f"{verify['n']:,} samples"),
        Figure("accuracy, integers", f"{integers:.2%}", lost),
    ]


def _prices(joules: Mapping[str, Any]) -> list[Figure]:
    chips = {name: joules[name] for name in show.list_chips(joules)}
    out = [
        Figure(
            f"energy, {name} chip",
            show.joules(chip["chip"]["nominal"]),
            f"{show.joules(chip['chip']['low'])} – {show.joules(chip['chip']['high'])} "
            "per inference",
        )
        for name, chip in chips.items()
    ]
    ann = show.joules(joules["conventional45nm"]["ann"])
    return [*out, Figure("same-shape ANN", ann, "45 nm convention, arithmetic only")]
