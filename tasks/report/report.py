"""``neuro report``: shows all results of a run folder on one page.

The page names each missing result with the verb that makes it; the report measures nothing.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from neuro.io.record_file import load_record
from neuro.io.run_folder import RECORD, find_file
from neuro.io.schema import convert
from neuro.io.store import StoreError, read_bytes, read_json, write_bytes
from neuro.plot import LINES, count_neurons_per_row
from neuro.spikes.record import Record
from tasks.report import figures as pictures, html as page, tables as show
from tasks.report.controls import find_controls
from tasks.report.energy import show_energy, show_mapping
from tasks.report.key_figures import (
    explain_refusal,
    list_first_misfits,
    list_key_figures,
    name_command,
    state_verdict,
)
from tasks.report.summary import show_standings, state_controls, state_quality
from tasks.report.validation import show_validation
from tasks.runs.find import name_train_command
from tasks.runs.provenance import (
    OF_EVERY_RESULT,
    RESULTS,
    describe_provenance,
    describe_trained,
    describe_unfinished,
    digest_file,
    explain_foreign_curve,
    explain_unknown_curve,
    list_chip_exports,
    list_out_of_date,
)
from tasks.runs.results import (
    name_verb,
    read_chip_export,
    read_environment,
    read_history,
    read_result,
)
from tasks.runs.shipped import SHIPPED, Shipment
from tasks.runs.task import Html, TaskRun

LARGEST_PICTURE = 64 << 20  # bytes
SHOWN = 6  # samples whose activity is drawn
PARITY = "Do the executors agree?"
RAN_ON = {  # executor of a record -> name in the report
    "torch": "torch's clock",
    "events": "the event engine",
    "integers": "the integers of Loihi",
    "lava": "Lava",
}
TINY = "A tiny configuration shows that everything runs; it is too small to do well."
COUNTED = ("spikes", "raised")  # EventProp's counts in metrics.jsonl, which are no curves


def write_report(run: TaskRun) -> Path:
    """Write ``report.html`` into the run folder and return its path.

    The page is self-contained. A warning precedes each result that was measured on other
    weights, configuration, data or code than the present ones.

    Raises:
        StoreError: a result is damaged, or the record belongs to another run; the message names
            the verb to run again.
        RunError: a result names a picture outside the run folder.
    """
    metrics = run.definition.evaluation.metrics
    results = {k: read_result(run.folder, k, metrics) for k in RESULTS}
    now = _describe_now(run)
    old = list_out_of_date(run.folder, now)
    body = [
        page.heading(f"{run.task}:{run.name}"),
        page.paragraph(f"{run.definition.summary}; seed {run.seed}", "muted"),
        *_remark(run),
        *_introduce(run, results["eval"]),
        *_compare(run, results["eval"], old),
        _describe_chip(run, results, old),
        *_list_details(run, results, old),
        page.fold(_origin(run, now)),
    ]
    path = run.folder / "report.html"
    title = f"{run.task}:{run.name}, seed {run.seed}"
    write_bytes(path, page.page(title, *body).encode())
    return path


def _introduce(run: TaskRun, evaluation: Mapping[str, Any] | None) -> list[Html]:
    """Say what the system does, and show an example if eval made one."""
    about = run.definition.about
    about = about(run.config) if callable(about) else about
    return [
        *([page.paragraph(about)] if about else []),
        *_show_findings(run, evaluation or {}, example=True),
    ]


def _compare(
    run: TaskRun, evaluation: Mapping[str, Any] | None, old: Mapping[str, str]
) -> list[Html]:
    title = "How well"
    if evaluation is None:
        return [page.section(title, page.missing(name_command(run, "eval")))]
    metrics = run.definition.evaluation.metrics
    quality = state_quality(evaluation, metrics)
    controls, commands = find_controls(run)
    shown = {**evaluation, "beside": {**controls, **evaluation.get("beside", {})}}
    beside = state_controls(shown, metrics, controls)
    first = page.paragraph(f"{quality[:1].upper()}{quality[1:]}.", "verdict")
    return [
        page.section(
            title,
            *_warn(run, "eval", old),
            *(run.definition.evaluation.headline(run, evaluation) or [first]),
            *([page.paragraph(beside, "verdict")] if beside else []),
            *([page.paragraph(TINY, "caption")] if run.name.startswith("tiny") else []),
            show_standings(shown, metrics),
            *(page.missing(x, f"not compared yet with {k}") for k, x in commands.items()),
        )
    ]


def _describe_chip(run: TaskRun, results: Mapping[str, Any], old: Mapping[str, str]) -> Html:
    verdict = page.paragraph(state_verdict(run, results, old), "verdict")
    figures = [] if explain_refusal(run, "verify") else list_key_figures(run, results, old)
    misfits = list_first_misfits(results["energy"] or {})
    return page.section(
        "On the chip",
        verdict,
        *([page.tiles(figures)] if figures else []),
        *(page.paragraph(line, "caption") for line in misfits),
    )


def _list_details(
    run: TaskRun, results: Mapping[str, Any], old: Mapping[str, str]
) -> Iterator[Html]:
    """Yield the sections below the summary; verbs that cannot run the network have none."""
    yield from map(page.fold, _describe_model(run))
    for verb, show_result in (
        ("eval", _on_test),
        ("simulate", _activity),
        ("verify", _parity),
        ("export", _scaling),
        ("energy", _energy),
    ):
        if not explain_refusal(run, verb):
            yield from [] if verb == "eval" else _warn(run, verb, old)
            yield from map(page.fold, show_result(run, results[verb]))
    for name in list_chip_exports(run.folder):
        yield from _warn(run, name, old)
        yield from map(page.fold, _integers(run, read_chip_export(run.folder, name)))


def _warn(run: TaskRun, verb: str, old: Mapping[str, str]) -> list[Html]:
    """Return a warning if a result is out of date."""
    if verb not in old:
        return []
    line = f"The result of {name_verb(verb)} below is {old[verb]}"
    return [page.warning(line, name_command(run, verb))]


def _remark(run: TaskRun) -> list[Html]:
    origin = run.definition.origin
    return [page.paragraph(origin.remark, "warning")] if origin and origin.remark else []


def _describe_now(run: TaskRun) -> dict[str, str]:
    """Return the present digests, without the digest of test data if they are missing here."""
    try:
        return describe_provenance(run)
    except (OSError, ValueError):
        return describe_trained(run.folder)


def _not_yet(run: TaskRun, title: str, verb: str) -> Html:
    return page.section(title, page.missing(name_command(run, verb)))


def _describe_model(run: TaskRun) -> Sequence[Html]:
    """Return the training curves, or the sections of the model's origin."""
    origin = run.definition.origin
    return [_training(run)] if origin is None else origin.sections(run)


def _training(run: TaskRun) -> Html:
    history = read_history(run.folder)
    if not history:
        return page.section("Training", page.missing(name_train_command(run)))
    if why := explain_foreign_curve(run, history):
        return page.section("Training", page.paragraph(f"Not shown: {why}.", "warning"))
    training = run.definition.training
    metric, keep = training.validation, training.plan(run.config).keep
    caption = (
        f"Loss on the training part and {metric.label} on samples held out of it, "
        f"after each epoch. The weights kept are those of the {keep} validation."
    )
    score = f"val_{metric.name}"
    curves = [{k: x for k, x in row.items() if k not in COUNTED} for row in history]
    shares = [score] if metric.percent else []
    rows = [[_number(x) for x in row.values()] for row in history]
    lines = (
        describe_unfinished(run),
        show.describe_raised_slopes(history),
        explain_unknown_curve(run.folder),
    )
    return page.section(
        "Training",
        page.picture(pictures.draw_curves(curves, shares), caption),
        *(page.paragraph(f"{line}.") for line in lines if line),
        page.details("the same in numbers", page.table(list(history[0]), rows)),
    )


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}"


def _on_test(run: TaskRun, evaluation: Mapping[str, Any] | None) -> list[Html]:
    """Return metrics, tables and pictures of the test split, and the task's own sections."""
    title = "On held-out samples"
    if evaluation is None:
        return [_not_yet(run, title, "eval")]
    of_task = run.definition.evaluation
    notes = evaluation.get("notes", {})
    rows = [
        [m.label, x, f"{m.meaning}; {m.better} is better".lstrip("; "), notes.get(m.name, "")]
        for m, x in show.list_values(dict(evaluation), of_task.metrics)
    ]
    measured = page.section(
        title,
        page.table(["metric", "value", "what it says", "note"], rows),
        *_show_findings(run, evaluation, example=False),
    )
    return [measured, *of_task.sections(run, evaluation)]


def _show_findings(run: TaskRun, evaluation: Mapping[str, Any], *, example: bool) -> list[Html]:
    """Return the tables and pictures of ``eval.json``, either the examples or the others.

    A table and a picture with the same title share a heading.
    """
    tables, pictures_ = (
        [x for x in evaluation.get(key, ()) if x.get("example", False) == example]
        for key in ("tables", "pictures")
    )
    titles = dict.fromkeys(x["title"] for x in (*tables, *pictures_))
    return [
        page.join(
            (
                page.subheading(title),
                *(_table(x) for x in tables if x["title"] == title),
                *(_picture(run, x) for x in pictures_ if x["title"] == title),
            )
        )
        for title in titles
    ]


def _table(table: Mapping[str, Any]) -> Html:
    """Return a table and its caption, which stands above an example."""
    rows = table["rows"]
    cells = [[x if isinstance(x, str) else _number(x) for x in row] for row in rows]
    parts = [page.table(table["head"], cells)]
    if table["caption"]:
        above = table.get("example", False)
        caption = page.paragraph(table["caption"], "" if above else "caption")
        parts.insert(0 if above else 1, caption)
    return page.join(parts)


def _picture(run: TaskRun, picture: Mapping[str, str]) -> Html:
    """Return a picture that eval wrote, if it is still a picture and unchanged."""
    name, command = picture["file"], name_command(run, "eval")
    path = find_file(run.folder, name, "eval.json")
    if not path.exists():
        return page.missing(command)
    image = read_bytes(path, LARGEST_PICTURE)
    if picture.get("digest", own := digest_file(path)) != own:
        words = f"{name} is not shown: it is not the picture that eval.json records"
        return page.warning(words, command)
    if not page.is_photo(image):
        words = f"{name} is not shown: it is no PNG or GIF that can be decoded"
        return page.warning(words, command)
    unknown = f"eval.json has no digest of {name}, which may be of another run"
    return page.join(
        (
            *([] if "digest" in picture else [page.warning(unknown, command)]),
            page.photo(image, picture["caption"]),
        )
    )


def _activity(run: TaskRun, simulation: Mapping[str, Any] | None) -> list[Html]:
    path = run.folder / RECORD
    if simulation is None or not path.exists():
        return [_not_yet(run, title, "simulate") for title in ("Activity", "Firing rates")]
    record = load_record(path)
    _require_same_network(run, simulation, record)
    if digest_file(path) != simulation["record"]:
        raise StoreError(
            f"{path}: is of another run, or another {name_command(run, 'simulate')}, than "
            "simulate.json; that verb writes both again"
        )
    captions, file = simulation.get("captions", []), run.folder / "activity.png"
    remarks = [run.definition.evaluation.reading] if captions else []
    drawn = show_activity(record, simulation["input_shapes"], captions, file, remarks)
    return [drawn, _rates(run, simulation, record)]


def _require_same_network(run: TaskRun, simulation: Mapping[str, Any], record: Record) -> None:
    """Raise unless the record holds the stimuli that ``simulate.json`` describes."""
    shapes, captions = simulation["input_shapes"], simulation.get("captions", ())
    sizes = {k: e.shape[2] for k, e in record.spikes.items()}
    fit = all(sizes.get(k) == math.prod(shape) for k, shape in shapes.items())
    if not fit or (captions and len(captions) < min(SHOWN, record.samples)) or not shapes:
        raise StoreError(
            f"{run.folder / 'simulate.json'}: and {RECORD} are of two networks; "
            f"{name_command(run, 'simulate')} writes both again"
        )


def show_activity(
    record: Record,
    shapes: Mapping[str, Sequence[int]],
    captions: Sequence[str],
    file: Path,
    remarks: Sequence[str] = (),
) -> Html:
    """Return a section with stimuli, spikes and read-outs of the first samples of a record.

    shapes: of one tick of each input, by name. captions: of the samples, or none.
    file: where to write the picture as PNG. remarks: sentences below the picture.
    """
    n = min(SHOWN, record.samples)
    titles = [captions[i] if captions else f"sample {i + 1}" for i in range(n)]
    shared = ", ".join(
        f"{count_neurons_per_row(e.shape[2])} of {name}" for name, e in record.spikes.items()
    )
    has_images = any(len(shape) > 1 for shape in shapes.values())
    lines = [
        f"{n} test samples on {RAN_ON.get(record.executor, record.executor)}.",
        *["Stimulus: input spikes per pixel, summed over the ticks."] * has_images,
        "Rasters: one column a tick; neurons in a row: "
        f"{shared}; the darker, the more of them spike.",
    ]
    if record.times:
        lines.append(
            "The record is of the exact clock, in continuous time: each spike is drawn in the "
            "tick that holds it. On a grid the spikes may lie in other ticks."
        )
    if any(v.shape[2] <= LINES for v in record.values.values()):
        lines.append("Read-out: one line a neuron; the line with the highest mean is thick.")
    drawn = pictures.draw_activity(record, shapes, titles, file)
    return page.section("Activity", page.picture(drawn, " ".join([*lines, *remarks]).strip()))


def _rates(run: TaskRun, simulation: Mapping[str, Any], record: Record) -> Html:
    rates = {
        name: len(e.tick) / max(1, e.shape[0] * e.shape[1] * e.shape[2])
        for name, e in record.spikes.items()
    }
    sizes = {name: f"{e.shape[2]:,}" for name, e in record.spikes.items()}
    sizes |= {name: f"{v.shape[2]:,}" for name, v in record.values.items()}
    further = simulation.get("others", {})
    rates |= {name: layer["rate"] for name, layer in further.items()}
    sizes |= {name: f"{layer['neurons']:,}" for name, layer in further.items()}
    (first, *counted), counts_by_node = show.list_counts_per_sample(dict(simulation))
    names = simulation["per_sample"]
    rows = [
        [node, sizes.get(name, ""), *counts]
        for name, (node, *counts) in zip(names, counts_by_node, strict=True)
    ]
    caption = f"Mean over the {record.samples} recorded test samples."
    measured = show.list_values(dict(simulation), run.definition.evaluation.metrics)
    values = ", ".join(f"{m.label} {value}" for m, value in measured)
    line = (
        f"Per sample, mean over {simulation['n']:,} test samples on the event engine "
        f"({simulation['clock']} clock), which took "
        f"{simulation['milliseconds_per_sample']:.2f} ms each"
        + (f": {values}." if values else ".")
        + " An empty cell is 0."
    )
    return page.section(
        "Firing rates",
        page.picture(pictures.draw_rates(rates), caption),
        page.table([first, "neurons", *counted], rows),
        *(page.paragraph(t, "caption") for t in [line, *show.describe_coverage(simulation)]),
    )


def _parity(run: TaskRun, verify: Mapping[str, Any] | None) -> list[Html]:
    return [show_parity(verify) if verify else _not_yet(run, PARITY, "verify")]


def _energy(run: TaskRun, energy: Mapping[str, Any] | None) -> list[Html]:
    if energy is None:
        return [_not_yet(run, "Energy", "energy")]
    return [
        show_energy(energy),
        show_mapping(energy, run.folder / "cores.png"),
        show_validation(energy),
    ]


def show_parity(verify: Mapping[str, Any]) -> Html:
    """Return a section on ``verify.json``."""
    both, networks = verify["torch_events"], 1 + len(verify.get("without_metric", ()))
    summed = f", summed over {networks} networks" if networks > 1 else ""
    lines = [
        f"{show.describe_length(verify)}; Lava {verify['reference_lava']['samples']} of "
        f"them{summed}. Spikes: of torch, in float64 as in the event engine. Float32 flips: "
        "spikes in torch that rounding to float32 alone changes. Integers ≠ floats: share of "
        "ticks × neurons whose spike changes by quantisation; of a read-out, the root mean "
        "square of the difference over that of its values."
    ]
    flips = both["float32_flips"].values()
    if any(f["flips"] for f in flips):
        far = max(f["largest_margin"] for f in flips)
        lines.append(
            f"The farthest float32 flip lay {far:.2g} from its threshold: a flip shifts the "
            "neurons that it feeds."
        )
    near = [f["near"] for f in flips if f["near"] is not None]
    if near:
        between = sum(f["executors"] for f in flips)
        lines.append(
            f"{sum(near):,} membranes came so near to their threshold that rounding to float32 "
            f"decides; torch and the events, both in float32, differ in {between:,} spikes. "
            f"First differences of a sample that rounding does not explain: "
            f"{len(both['unexplained'])}."
        )
    lines += [
        f"{name}: differing spikes lay up to {max(layer['margins']):.2g} from the threshold."
        for name, layer in both["layers"].items()
        if layer["margins"]
    ]
    return page.section(
        PARITY,
        page.terminal_table(show.tabulate_equality(dict(verify))),
        *(
            page.paragraph(t, "warning")
            for t in show.describe_silence(show.list_silent(verify))
        ),
        *(page.paragraph(t, "caption") for t in [*lines, *show.describe_coverage(verify)]),
        *_lava(verify["reference_lava"]),
        *(page.paragraph(f"No integers: {p}") for p in verify.get("misfits", ())),
    )


def _lava(lava: Mapping[str, Any]) -> list[Html]:
    """Say why Lava was not run, or where it first differs from the reference."""
    skipped = [page.paragraph(f"Lava was not run: {x}") for x in [lava.get("skipped")] if x]
    first = {name: layer.get("first") for name, layer in lava.get("layers", {}).items()}
    return skipped + [
        page.paragraph(
            f"{name} first differs from Lava at tick {where['tick']}, sample {where['sample']}"
            f", neuron {where['neuron']}: {where['cause']}"
        )
        for name, where in first.items()
        if where
    ]


def _scaling(run: TaskRun, export: Mapping[str, Any] | None) -> list[Html]:
    title = "From floats to integers"
    if export is None:
        return [_not_yet(run, title, "export")]
    if not export["scaling"]:
        return [page.section(title, page.paragraph("No layer was scaled."))]
    line = (
        "Errors in units of the float network; lag in ticks. Worst / 2^23: the largest state "
        "that any stimulus of this length can cause; below 100 % no state overflows."
    )
    table = page.terminal_table(show.tabulate_scaling(export["scaling"]))
    return [page.section(title, table, page.paragraph(line, "caption"))]


def _integers(run: TaskRun, export: Mapping[str, Any] | None) -> list[Html]:
    """Return a section on the integers of a chip with its own export, beside the floats."""
    if export is None:
        return []
    line = (
        "Errors in units of the float network; lag in ticks. Worst / 2^15: the largest state "
        "if every source fired once in every tick; below 100 % no such stimulus saturates."
    )
    told = show.describe_integers(export, run.definition.evaluation.metrics)
    return [
        page.section(
            f"From floats to integers of {export['chip']}",
            page.terminal_table(show.tabulate_scaling(export["scaling"], "worst\n/ 2^15")),
            page.paragraph(line, "caption"),
            page.terminal_table(show.tabulate_integers(export)),
            *(page.paragraph(text, "caption") for text in told),
        )
    ]


def _origin(run: TaskRun, now: Mapping[str, str]) -> Html:
    """Return the provenance of the results: configuration, versions, machine, digests."""
    environment = read_environment(run.folder)
    packages = environment.pop("packages", {})
    header = {"task": run.task, "configuration": run.name, "seed": run.seed}
    return page.section(
        "Configuration and environment",
        *_describe_shipment(run.folder),
        page.pairs([*header.items(), *asdict(run.config).items()]),
        page.pairs([*environment.items(), *packages.items()]),
        page.pairs([(f"digest of {k}", now.get(k, "not here")) for k in OF_EVERY_RESULT]),
    )


def _describe_shipment(folder: Path) -> list[Html]:
    """Say by which code a run that neuro ships was trained, and what is measured again."""
    if not (folder / SHIPPED).exists():
        return []
    shipment = convert(read_json(folder / SHIPPED), Shipment)
    return [
        page.paragraph(
            f"Trained by {shipment['command']} at commit {shipment['commit'][:12]}. Results "
            "that neuro ships with the run were measured by earlier code; a test of each "
            "version reproduces the loss on the first test batch."
        )
    ]
