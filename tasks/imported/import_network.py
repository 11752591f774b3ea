"""``neuro import``: makes a run folder of a network after comparing it with its source.

The source runs in its own library beside neuro's clock. Nothing is written if a spike differs,
or if there are labels and a run folder cannot store how the source decodes its answers. The
folder is written under a temporary name and renamed when complete.
"""

import math
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from neuro.base.version import __version__
from neuro.graph import GradedInput, Graph
from neuro.interop.decoding import Decoding
from neuro.interop.imported import (
    RETURNED,
    ComparedPopulation,
    DrawnStimulus,
    ImportedNetwork,
    verify_import,
)
from neuro.interop.neuron_reader import CannotRunError
from neuro.io.graph_file import save_graph
from neuro.io.run_folder import NETWORK, Run, RunError, begin_run
from neuro.io.store import is_free, rename_when_whole, require_utf_8, write_json
from tasks.imported.answers import (
    compare_answers,
    compare_precision,
    describe_answers,
    find_answers,
    say_otherwise,
)
from tasks.imported.coding import (
    FIELD,
    CodedNetwork,
    choose_code,
    code_network,
)
from tasks.imported.files import (
    ABOUT,
    DECODING,
    STIMULUS,
    ImportFacts,
    StimulusFacts,
    describe_mapping,
    describe_rows,
    digest_files,
    list_digests,
    make_config,
    name_source,
    read_mapping,
    read_rows,
    save_decoding,
    shorten_places,
)
from tasks.imported.sections import (
    MAPPED,
    TOTALS,
    add_stimuli,
    describe_code,
    describe_comparison,
    describe_stimulus,
    list_cells,
    list_differing,
    list_own_figures,
    list_remarks,
)
from tasks.imported.source import OpenedSource, open_source
from tasks.imported.stimulus import (
    LABELS,
    ImportedStimulus,
    StimulusError,
    generate_images,
    generate_stimulus,
    make_stimulus,
    read_arrays,
    require_numbers,
    require_run_of_source,
    save_stimulus,
)
from tasks.runs.names import IMPORTED
from tasks.runs.settings import split_settings

USUAL_TICKS = 100  # default length of a random stimulus
TICKS, SAMPLES, SEED = 64, 4, 0  # of each stimulus that compares the import with its source
STRONGER = (4, 16, 64)  # largest input values, tried in turn while a population stays silent
MOST_VALUES = 2**24  # in one tick of one sample
GIVEN = 4  # samples of the user's stimulus that are also compared


@dataclass(frozen=True, kw_only=True)
class StimulusWords:
    """The stimulus as given on the command line.

    file: None draws random spikes from the numbers below.
    ticks: None is the fixed number of ticks of the source, or else USUAL_TICKS.
    """

    file: Path | None = None
    labels: Path | None = None
    ticks: int | None = None
    samples: int = 16
    rate: float = 0.1
    seed: int = 0


def import_network(
    source: str,
    out: Path,
    words: StimulusWords,
    shape: tuple[int, ...] | None = None,
    choices: Mapping[str, str] | None = None,
) -> ImportFacts:
    """Make the run folder ``out`` of a source; return the contents of ``import.json``.

    shape, choices: see :func:`tasks.imported.source.open_source`.

    Raises:
        RunError: the folder exists, or the network differs from its source.
        SourceError, TaskFileError, StimulusError: source or stimulus cannot be used.
        ValueError: a reader refuses the source; lists every reason with its cure.
    """
    require_new(out)
    ticks = USUAL_TICKS if words.ticks is None else words.ticks
    values = 1 if words.file or shape is None else math.prod(shape)
    require_numbers(ticks, words.samples, words.rate, words.seed, values)
    if words.file is None and words.labels is not None:
        raise StimulusError(
            [f"--labels {words.labels}: labels are of a stimulus; give it with --stimulus"]
        )
    arrays = {} if words.file is None else read_arrays(words.file)
    own_choices = dict(choices or {})
    code_word = own_choices.pop(FIELD, "")
    opened = _open_source(source, shape, arrays, own_choices)
    graph = opened.network.graph
    if LABELS in graph.inputs:
        raise StimulusError([f"an input of the network is called {LABELS!r}; rename it"])
    fixed, static = opened.network.ticks, opened.network.static
    stimulus = _make_stimulus(opened.network, words, arrays)
    path = words.file or Path("--ticks")
    require_run_of_source(path, stimulus, fixed, static=static)
    network = opened.network
    graded = any(isinstance(graph.nodes[name], GradedInput) for name in graph.inputs)
    code = "real" if graded and not code_word else choose_code(code_word, stimulus)
    decoding = find_answers(opened.name, network, stimulus)
    rows = compare_with_source(opened, stimulus, words, decoding)
    facts = describe_import(opened, rows, stimulus, words)
    compared = facts["verification"]
    if network.own is not None:
        compare = partial(_compare, stimulus=stimulus, words=words)
        precision = compare_precision(network, network.own, compare)
        precision["casts"] = [shorten_places(x, opened.folder) for x in precision["casts"]]
        compared["precision"] = precision
        network = replace(network, own=None) if precision["failed"] else network
    shown = any(row.population == RETURNED for row in rows)
    facts["choices"].update(describe_answers(network, stimulus.ticks, shown=shown))
    if decoding is not None and network.find_decoding is not None:
        compared["answers"] = compare_answers(opened.name, network, stimulus, decoding)
    coded = code_network(code, graph, stimulus, decoding)
    if coded.facts is not None:
        facts["code"] = coded.facts
    write_run(out, coded, facts, decoding)
    return facts


def _make_stimulus(
    network: ImportedNetwork, words: StimulusWords, arrays: Mapping[str, np.ndarray]
) -> ImportedStimulus:
    """Return the stimulus that the words ask for: that of a file, or a random one."""
    graph, images, fixed = network.graph, network.images, network.ticks
    ticks = words.ticks or fixed or USUAL_TICKS
    if words.file is None and images is not None:
        drawn = {"ticks": ticks, "samples": words.samples, "seed": words.seed}
        return generate_images(graph, images, **drawn)
    if words.file is None:
        return generate_stimulus(
            graph,
            ticks=ticks,
            samples=words.samples,
            rate=words.rate,
            seed=words.seed,
            static=network.static,
        )
    shown = (fixed or 0) * network.static if images is None else words.ticks or 0
    found = make_stimulus(graph, words.file, arrays, words.labels, network.classes, shown)
    if words.ticks is not None and not found.repeated:
        raise StimulusError(
            [f"--ticks {words.ticks}: {words.file} has its own ticks; leave --ticks out"]
        )
    return found


def name_run(source: str) -> str:
    """Return the name of the default run folder of a source.

    >>> name_run("nets/cnn.nir"), name_run("my_net.py:make")
    ('cnn', 'my_net-make')
    """
    file, colon, function = source.rpartition(":")
    if colon and file.endswith(".py"):
        return f"{Path(file).stem}-{function}"
    return Path(source).stem


def read_choices(words: Sequence[str]) -> dict[str, str]:
    """Return the choices given by ``--set``, by name."""
    return split_settings(words, "dt=0.0001")


def read_shape(text: str) -> tuple[int, ...] | None:
    """Parse the value of ``--shape``; "" gives None.

    >>> read_shape("2,34,34"), read_shape("16"), read_shape("")
    ((2, 34, 34), (16,), None)

    Raises:
        ValueError: the text is not a shape, or the shape is too large.
    """
    if not text:
        return None
    try:
        shape = tuple(int(size) for size in text.split(","))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise ValueError(f"--shape is whole numbers with commas, as 2,34,34; got {text!r}")
    if math.prod(shape) > MOST_VALUES:
        raise ValueError(
            f"--shape {text} has {math.prod(shape):,} values; it must have <= {MOST_VALUES:,}. "
            "Give the shape of one tick of one sample"
        )
    return shape


def require_new(out: Path) -> None:
    """Raise unless ``out`` is free for a run folder; existing files are never overwritten."""
    require_utf_8(out)
    if not is_free(out):
        raise RunError(f"{out} exists; choose another --out, or delete it")


def _open_source(
    source: str,
    shape: tuple[int, ...] | None,
    arrays: Mapping[str, np.ndarray],
    choices: Mapping[str, str],
) -> OpenedSource:
    """Open a source; without ``shape``, with the shape of the only array of a file.

    An array may lack the axis of ticks, so the shape is also tried without its samples alone.
    """
    given = [x for name, x in arrays.items() if name != LABELS]
    if shape is not None or len(given) != 1 or given[0].ndim < 2:
        return open_source(source, shape, choices)
    timed, whole = given[0].shape[2:], given[0].shape[1:]
    try:
        return open_source(source, timed or whole, choices)
    except CannotRunError:
        if timed:
            with suppress(CannotRunError):
                return open_source(source, whole, choices)
        raise


def compare_with_source(
    opened: OpenedSource,
    stimulus: ImportedStimulus,
    words: StimulusWords,
    decoding: Decoding | None,
) -> tuple[ComparedPopulation, ...]:
    """Return the comparison with the source, under random stimuli and the user's own.

    Returned values are left out if no decoding explains them and none is needed.

    Raises:
        CaptureError: the source behaves differently from tick to tick; names the line.
        RunError: a population differs (the message holds the first one and the whole table),
            or the source does not decode its answers as ``decoding`` does.
    """
    rows = _compare(opened.network, stimulus, words)
    wrong = next((row for row in rows if not row.agrees and row.population != RETURNED), None)
    if wrong:
        what = (
            f"{wrong.different:,} spikes differ (of {wrong.spikes:,} of the source)"
            if wrong.different
            else f"values differ by {wrong.error:.2g}, the largest is {wrong.largest:.2g}"
        )
        raise RunError(
            f"{list_differing(rows)}\n{opened.name}: the network differs from its source in "
            f"{opened.network.library}, first in {wrong.population} under {wrong.stimulus}: "
            f"{what}. Nothing was written. This is a fault of the import: please report it "
            "with the source"
        )
    if all(row.agrees for row in rows):
        return rows
    if decoding is not None:
        raise RunError(f"{opened.name}: {say_otherwise(decoding)}")
    return tuple(row for row in rows if row.population != RETURNED)


def _compare(
    network: ImportedNetwork, stimulus: ImportedStimulus, words: StimulusWords
) -> tuple[ComparedPopulation, ...]:
    few = {name: x[:, :GIVEN] for name, x in stimulus.inputs.items()}
    named = {} if words.file is None else {f"{words.file.name}, first samples": few}
    rows = verify_import(network, TICKS, SAMPLES, SEED, named)
    for largest in STRONGER:
        if not _find_silent(network.graph, rows):
            break
        drawn = [DrawnStimulus(f"values from 0 to {largest}", None, largest)]
        rows += verify_import(network, TICKS, SAMPLES, SEED, drawn=drawn)
    return rows


def _find_silent(graph: Graph, rows: Sequence[ComparedPopulation]) -> list[str]:
    """Return the compared populations that can fire but never did."""
    shown = {row.population for row in rows}
    fired = {row.population for row in rows if row.spikes}
    return [name for name in graph.firing if name in shown and name not in fired]


def describe_import(
    opened: OpenedSource,
    rows: tuple[ComparedPopulation, ...],
    stimulus: ImportedStimulus,
    words: StimulusWords,
) -> ImportFacts:
    """Return the contents of ``import.json``."""
    graph, shown = opened.network.graph, {row.population for row in rows}
    choices = dict(opened.network.choices)
    if stimulus.repeated:
        choices["images"] = f"no axis of ticks: each is shown in all {stimulus.ticks} ticks"
    drawn: dict[str, Any] = {
        "rate": words.rate,
        "seed": words.seed,
        "static": opened.network.static,
    }
    if opened.network.images is not None:
        drawn["images"] = list(opened.network.images)
    return ImportFacts(
        neuro=__version__,
        source={
            "name": opened.name,
            "function": opened.function,
            "digest": opened.digest,
        },
        library=opened.network.library,
        choices={name: shorten_places(text, opened.folder) for name, text in choices.items()},
        mapping=describe_mapping(opened.network, opened.folder),
        verification={
            "ticks": opened.network.ticks or TICKS,
            "samples": SAMPLES,
            "seed": SEED,
            "rows": describe_rows(rows),
            "hidden": [n for n in graph.populations if n not in shown],
            "silent": _find_silent(graph, rows),
        },
        stimulus=StimulusFacts(
            file=words.file.name if words.file else "",
            ticks=stimulus.ticks,
            samples=stimulus.samples,
            labels=stimulus.labels is not None,
            **({} if words.file else drawn),  # type: ignore[typeddict-item]
        ),
    )


def write_run(
    out: Path, coded: CodedNetwork, facts: ImportFacts, decoding: Decoding | None
) -> None:
    """Write the run folder completely, or not at all.

    Raises:
        RunError: another process has made a folder there in the meantime.
        StoreError: the folder cannot be written.
    """
    with rename_when_whole(out) as part:
        save_graph(part / NETWORK, coded.graph)
        save_stimulus(part / STIMULUS, coded.stimulus)
        if decoding is not None:
            save_decoding(part / DECODING, decoding)
        write_json(part / ABOUT, facts)
        config, seed = make_config(part), facts["stimulus"].get("seed", 0)
        begin_run(Run(folder=part, task=IMPORTED, name=out.name, seed=seed, config=config))
    if digest_files(out) != list_digests(config):
        raise RunError(f"{out}: another process made it in the meantime; choose another --out")


def show_import(console: Console, out: Path, facts: ImportFacts) -> None:
    """Print the mapping of parts, the comparison with the source, and the stimulus."""
    from tasks.report.tables import make_table

    said = partial(console.print, highlight=False, soft_wrap=True)
    said(f"{name_source(facts)} ({facts['library']})")
    if facts["mapping"]:
        rows = [[m.node, m.source, m.became] for m in read_mapping(facts)]
        console.print(make_table("What became of what", *MAPPED, rows=rows))
    for name, choice in facts["choices"].items():
        said(f"{name}: {choice}")
    if "code" in facts:
        said(f"{FIELD}: {describe_code(facts['code'])}")
    if totals := add_stimuli(read_rows(facts)):
        table = make_table(
            "Compared with its source at every tick", *TOTALS, rows=map(list_cells, totals)
        )
        console.print(table)
    for line in (describe_comparison(facts), *list_own_figures(facts), *list_remarks(facts)):
        if line:
            said(line)
    stimulus = facts["stimulus"]
    said(
        describe_stimulus(stimulus)
        or f"stimulus: {stimulus['file']}, {stimulus['ticks']:,} ticks, "
        f"{stimulus['samples']:,} samples{', with labels' * stimulus['labels']}"
    )
    said(f"wrote {out}; next: neuro verify {shlex.quote(str(out))}")
