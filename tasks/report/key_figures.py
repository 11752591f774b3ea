"""The verdict on a run and its key figures, at the top of its report.

The verdict is one sentence from ``energy.json`` and ``verify.json``: which chips the network
fits, what quantisation costs, which layers are silent. It names results that are missing.
"""

import shlex
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from tasks.report import tables as show
from tasks.report.host import share_host
from tasks.report.html import KeyFigure
from tasks.report.summary import split_value
from tasks.runs.results import name_verb
from tasks.runs.task import Metric, TaskRun

DIFFER = "differences, torch and events"
FROM_LAVA = "differences, integers and Lava"
MOST_NAMED = 3  # networks that the verdict names; of more it gives the number


def name_command(run: TaskRun, verb: str) -> str:
    """Return the command that runs a verb on a run, or writes a result like "export-xylo"."""
    return f"neuro {name_verb(verb)} {shlex.quote(str(run.folder))}"


def explain_refusal(run: TaskRun, verb: str) -> str:
    """Return why a verb cannot run a run's network; "" if it can."""
    if verb == "eval":
        return ""
    deployment = run.definition.deployment
    unpriced = deployment.unpriced(run.config) if verb == "energy" else ""
    return deployment.only_torch(run.config) or unpriced


def list_key_figures(
    run: TaskRun, results: Mapping[str, Any], out_of_date: Mapping[str, str]
) -> list[KeyFigure]:
    """Return the key figures of verify and energy; missing ones name their verb.

    results: by verb, or None. out_of_date: verb -> reason, for example "of earlier weights".
    """
    metrics = run.definition.evaluation.metrics
    out = []
    for verb, label, list_figures in (
        ("verify", "do executors agree?", list_agreement),
        ("energy", "energy per inference", lambda joules, _: list_prices(joules)),
    ):
        if not results[verb]:
            out.append(_unknown(run, label, verb))
            continue
        before = f"{out_of_date[verb]}; " if verb in out_of_date else ""
        figures = list_figures(results[verb], metrics)
        out += [f._replace(note=f"{before}{f.note}") for f in figures]
    return out


def _unknown(run: TaskRun, label: str, verb: str) -> KeyFigure:
    if why := explain_refusal(run, verb):
        return KeyFigure(label, "–", f"not possible: {why}")
    return KeyFigure(label, "–", f"not measured yet: {name_command(run, verb)}")


def list_agreement(verify: Mapping[str, Any], metrics: Sequence[Metric]) -> list[KeyFigure]:
    """Return the key figures of ``verify.json``; those of metrics but the first are minor."""
    both, lava = verify["torch_events"], verify["reference_lava"]
    spikes = sum(layer["spikes"] for layer in both["layers"].values())
    known = [m for m in metrics if m.name in verify["metrics"]]
    out = [f._replace(minor=m != known[0]) for m in known for f in _by_executor(verify, m)]
    of = f"of {spikes:,} spikes" if spikes else "of no spike: nothing fired"
    if not both["float32_flips"]:  # empty if all spikes are graded spikes of host nodes
        of = "of all values of read-outs"
    out += [KeyFigure(DIFFER, f"{both['mismatches']:,}", of)]
    if "mismatches" not in lava:
        return [*out, KeyFigure(FROM_LAVA, "not run", lava["skipped"])]
    rest = f"the rest not run: {lava['skipped']}" if "skipped" in lava else "all layers"
    note = f"in {lava['samples']} sample{'s' * (lava['samples'] != 1)}, {rest}"
    return [*out, KeyFigure(FROM_LAVA, f"{lava['mismatches']:,}", note)]


def _by_executor(verify: Mapping[str, Any], metric: Metric) -> list[KeyFigure]:
    values, n = verify["metrics"][metric.name], show.count_answers(verify)
    figures = [_tell_value(metric, "events", values["events"], n, f"{n:,} samples")]
    if "integers" not in values:
        return [*figures, KeyFigure(f"{metric.label}, integers", "–", "does not fit Loihi")]
    cost = f"quantisation: {show.describe_loss(metric, verify)}"
    return [*figures, _tell_value(metric, "integers", values["integers"], n, cost)]


def _tell_value(metric: Metric, who: str, value: float, n: int, note: str) -> KeyFigure:
    text, interval = split_value(metric, value, n)
    notes = [f"95 % interval {interval}"] * bool(interval) + [note]
    return KeyFigure(f"{metric.label}, {who}", text, "; ".join(notes))


def _tell_step(joules: Mapping[str, Any], chip: Mapping[str, Any]) -> str:
    """Return the energy per step of a sequence, as a suffix to the energy per inference."""
    if "sequence" not in joules:
        return ""
    nominal = show.format_joules(show.share_step(joules, chip)["nominal"])
    return f"; {nominal} per {joules['sequence']['step']}"


def list_prices(joules: Mapping[str, Any]) -> list[KeyFigure]:
    """Return the key figures of ``energy.json``, of the chips that the network fits."""
    chips = {k: joules[k] for k in show.list_chips(joules) if not joules[k].get("misfits")}
    out = [
        KeyFigure(
            f"energy, {name} chip",
            show.format_joules(chip["chip"]["nominal"]),
            " – ".join(show.format_joules(chip["chip"][end]) for end in ("low", "high"))
            + f" per {show.name_inference(joules)}{_tell_step(joules, chip)}",
        )
        for name, chip in chips.items()
    ]
    convention = joules["conventional45nm"]
    snn, ann = (show.format_joules(convention[key]) for key in ("snn", "ann"))
    # A ratio, because energies of arithmetic cannot be compared with energies of chips.
    ratio = f"{convention['snn'] / convention['ann']:.3g}×" if convention["ann"] else "–"
    passes = show.count_passes(convention)
    note = f"{snn} : {ann} ({passes}) by the 45 nm convention, arithmetic only"
    return [*out, KeyFigure("arithmetic, spiking : ANN", ratio, note)]


def list_first_misfits(result: Mapping[str, Any]) -> list[str]:
    """Return one line per chip that the network does not fit: its first reason and cure."""
    of_chips = {name: result[name].get("misfits", ()) for name in show.list_chips(result)}
    return [
        f"Does not fit {name}: {why[0]}"
        + f" ({len(why) - 1} more under Energy per inference)" * (len(why) > 1)
        for name, why in of_chips.items()
        if why
    ]


def state_verdict(
    run: TaskRun, results: Mapping[str, Any], out_of_date: Mapping[str, str]
) -> str:
    """Return the verdict on a run.

    results: by verb, or None. out_of_date: verb -> reason, for example "of earlier weights".
    """
    if why := explain_refusal(run, "verify"):
        return f"Only torch runs this network, and no chip: {why}."
    energy, verify = results["energy"], results["verify"]
    metrics = run.definition.evaluation.metrics
    unpriced = explain_refusal(run, "energy")
    parts = [
        _date(describe_fit(energy), out_of_date.get("energy"))
        if energy
        else unpriced or f"which chip it fits is not measured: {name_command(run, 'energy')}",
        _date(
            "; ".join(filter(None, (describe_cost(verify, metrics), describe_silent(verify)))),
            out_of_date.get("verify"),
        )
        if verify
        else "what quantisation costs, and which layers are silent, is not measured: "
        f"{name_command(run, 'verify')}",
    ]
    verdict = "; ".join(parts)
    return f"{verdict[0].upper()}{verdict[1:]}."


def describe_fit(energy: Mapping[str, Any]) -> str:
    """Say which chips of ``energy.json`` the network fits, and what stays on a host."""
    chips = show.list_chips(energy)
    small = [name for name in chips if energy[name].get("misfits")]
    fits = [name for name in chips if name not in small]
    host = ""
    if share := share_host(energy):
        operations, joules = map(show.format_share, share)
        host = (
            f"; {operations} of its operations, and {joules} of its energy by the 45 nm "
            "convention, stay on a host"
        )
    if not fits:
        return f"the network fits none of {_list(small)}{host}"
    but = f", but not {_list(small)}" if small else ""
    return f"the network fits {_list(fits)}{but}{host}"


def describe_cost(verify: Mapping[str, Any], metrics: Sequence[Metric]) -> str:
    """State the cost of quantisation in the most important metric of ``verify.json``."""
    if why := verify.get("misfits"):
        more = f" (and {len(why) - 1} more)" if len(why) > 1 else ""
        return f"quantisation to Loihi's integers is not possible: {why[0]}{more}"
    metric = next((m for m in metrics if m.name in verify["metrics"]), None)
    if metric is None:  # the network does not answer
        layer, share = max(verify["quantisation"].items(), key=itemgetter(1))
        spikes = verify["torch_events"]["float32_flips"].get(layer)
        unit = "of its spikes and pauses" if spikes else "of its values (root mean square)"
        unmeasured = f"; what that costs in {metrics[0].label} is not measured: no verb does"
        return f"quantisation changes {layer} most, by {share:.2%} {unit}{unmeasured}"
    values = verify["metrics"][metric.name]
    floats, integers = (metric.text(values[who]) for who in ("events", "integers"))
    cost = show.describe_loss(metric, verify)
    unknown = verify.get("without_metric", ())
    only = f", that of {_list(unknown)} not counted" if unknown else ""
    if len(unknown) > MOST_NAMED:
        only = f", that of {len(unknown)} further networks not counted"
    return f"quantisation: {cost} ({metric.label} {floats} → {integers}){only}"


def describe_silent(verify: Mapping[str, Any]) -> str:
    """Say which layers of ``verify.json`` never fired; "" if no layer sends binary spikes."""
    if not verify["torch_events"]["float32_flips"]:
        return ""
    silent = show.list_silent(verify)
    if not silent:
        return "no layer is silent"
    return f"{_list(silent)} {'is' if len(silent) == 1 else 'are'} silent"


def _date(statement: str, why: str | None) -> str:
    return f"{statement} ({why})" if why else statement


def _list(names: Sequence[str]) -> str:
    """Join names with commas, and with "and" before the last."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
