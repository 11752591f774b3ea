"""The verdict on a run: which chip it fits, what quantisation costs, which layers are silent.

One sentence from ``energy.json`` and ``verify.json``; it names what is not measured.
"""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from tasks.report import tables as show
from tasks.report.key_figures import explain_refusal, name_command
from tasks.runs.task import Metric, TaskRun

Json = Mapping[str, Any]


def state_verdict(run: TaskRun, results: Json, out_of_date: Mapping[str, str]) -> str:
    """Return the sentence.

    results: of each verb, or None. out_of_date: verb -> why, "of earlier weights" for example.
    """
    if why := explain_refusal(run, "verify"):
        return f"Only torch runs this network, and no chip: {why}."
    energy, verify = results["energy"], results["verify"]
    metrics = run.definition.evaluation.metrics
    parts = [
        _date(describe_fit(energy), out_of_date.get("energy"))
        if energy
        else f"which chip it fits is not measured: {name_command(run, 'energy')}",
        _date(
            f"{describe_cost(verify, metrics)}; {describe_silent(verify)}",
            out_of_date.get("verify"),
        )
        if verify
        else "what quantisation costs, and which layers are silent, is not measured: "
        f"{name_command(run, 'verify')}",
    ]
    verdict = "; ".join(parts)
    return f"{verdict[0].upper()}{verdict[1:]}."


def describe_fit(energy: Json) -> str:
    """Return which chips of ``energy.json`` the network fits, and which it does not."""
    chips = show.list_chips(energy)
    small = [name for name in chips if energy[name].get("misfits")]
    fits = [name for name in chips if name not in small]
    if not fits:
        return f"the network fits none of {_list(small)}"
    return f"the network fits {_list(fits)}" + (f", but not {_list(small)}" if small else "")


def describe_cost(verify: Json, metrics: Sequence[Metric]) -> str:
    """Return the cost of quantisation, by the most important metric of ``verify.json``."""
    if verify.get("misfits"):
        return "quantisation is not possible: the network does not fit Loihi's integers"
    metric = next((m for m in metrics if m.name in verify["metrics"]), None)
    if metric is None:  # the network does not answer
        layer, share = max(verify["quantisation"].items(), key=itemgetter(1))
        return f"quantisation changes {layer} most, by {share:.3%}"
    values = verify["metrics"][metric.name]
    floats, integers = (metric.text(values[who]) for who in ("events", "integers"))
    lost = metric.loss(values["integers"], values["events"])
    size = metric.difference(abs(lost)).removeprefix("+") if lost else "nothing"
    what = "costs" if lost >= 0 else "gains"
    change = f"{floats} → {integers}" if lost else floats
    unknown = verify.get("without_metric", ())
    only = f", that of {_list(unknown)} not counted" if unknown else ""
    return f"quantisation {what} {size} ({metric.label} {change}){only}"


def describe_silent(verify: Json) -> str:
    """Return which layers of ``verify.json`` never fired."""
    if not verify["torch_events"]["float32_flips"]:
        return "silence of graded spikes is not measured"
    silent = show.list_silent(verify)
    if not silent:
        return "no layer is silent"
    return f"{_list(silent)} {'is' if len(silent) == 1 else 'are'} silent"


def _date(statement: str, why: str | None) -> str:
    return f"{statement} ({why})" if why else statement


def _list(names: Sequence[str]) -> str:
    """Return names with commas, and "and" before the last."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
