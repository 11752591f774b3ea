"""The folder of an imported network: its files, and the digests that detect changed files.

config.json holds the digest of every other file that the network and its stimulus are read
from. A run with a changed file is refused. No file contains a path outside the folder.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np

from neuro.interop.decoding import Decoding
from neuro.interop.imported import ComparedPopulation, ImportedNetwork, MappedNode
from neuro.io.run_folder import NETWORK, RunError, read_header
from neuro.io.schema import SchemaError, convert
from neuro.io.store import StoreError, read_json
from tasks.imported.stimulus import load_arrays, save_arrays
from tasks.runs.find import digest

ABOUT = "import.json"
STIMULUS = "stimulus.npz"
DECODING = "decoding.npz"  # how answers are decoded; only with labels
DRAWN = {"rate", "seed", "static"}  # fields of a random stimulus
# field of ImportConfig -> file
KEPT = {"graph": NETWORK, "stimulus": STIMULUS, "about": ABOUT, "decoding": DECODING}


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """The configuration of an imported network."""

    source: str
    """What it was imported from: a file name, or FILE.py:FUNCTION."""
    library: str
    """Name and version of the library that describes it."""
    graph: str
    """SHA-256 of the network."""
    stimulus: str
    """SHA-256 of the stimulus; empty where spikes are drawn."""
    about: str
    """SHA-256 of import.json."""
    decoding: str
    """SHA-256 of the decoding of answers; empty without labels."""


class SourceFacts(TypedDict):
    """File of the source. function: "" if the file holds the network. digest: SHA-256."""

    name: str
    function: str
    digest: str


class StimulusFacts(TypedDict):
    """The stimulus of the network.

    file: "" if spikes are drawn; only then are the fields in ``DRAWN`` present.
    static: one tick is drawn and shown in every tick.
    images: the least and the largest value of drawn images, if it takes images.
    """

    file: str
    ticks: int
    samples: int
    labels: bool
    rate: NotRequired[float]
    seed: NotRequired[int]
    static: NotRequired[bool]
    images: NotRequired[list[int]]


class PrecisionFacts(TypedDict):
    """The source in its own precision, beside neuro's clock in float64.

    casts: casts to a lower precision, with their lines of code.
    spikes, different: number of spikes of the source, and of spikes that differ.
    failed: why the source did not run; "" if it ran.
    """

    name: str
    casts: list[str]
    spikes: int
    different: int
    failed: str


class AnswerFacts(TypedDict):
    """The answers of the source, in ``precision``, beside those of the run in float64.

    source, run: number of correct answers. different: samples on which the two disagree.
    """

    precision: str
    samples: int
    source: int
    run: int
    different: int


class VerificationFacts(TypedDict):
    """The comparison with the source.

    ticks, samples, seed: of the generated stimuli. rows: the result of :func:`verify_import`.
    hidden: populations that the source does not show.
    silent: populations that can fire but never did.
    precision, answers: present if the source shows them.
    """

    ticks: int
    samples: int
    seed: int
    rows: list[dict[str, Any]]
    hidden: list[str]
    silent: list[str]
    precision: NotRequired[PrecisionFacts]
    answers: NotRequired[AnswerFacts]


class CodeFacts(TypedDict):
    """How a stimulus of values is coded, and how the code changes the run.

    code: "graded" or "rate". bits: bits per message.
    units: by graded input, the value that the integer 1 stands for.
    spikes, different: spikes without the code, and spikes that it changes; all samples.
    right: correct answers [without, with] the code; None without labels.
    changed: answers that are right only without the code, or only with it.
    """

    code: str
    bits: int
    units: dict[str, float]
    samples: int
    spikes: int
    different: int
    right: list[int] | None
    changed: NotRequired[int]


class ConversionFacts(TypedDict):
    """What the conversion of an ANN lost, as :mod:`neuro.nn.scales` measures it.

    ann: accuracy of the ANN; graded: on images as graded spikes hold them.
    clipped: share of the pixels that are clipped.
    right: [ticks, correct answers], one for each length of a run.
    percentile, by, calibrated: how the scales were found, and with how many images.
    learned: layers whose scales were trained instead.
    layers: the fields of :class:`neuro.nn.scales.ConvertedLayer`, in the run's ticks.
    """

    ann: float
    graded: float
    clipped: float
    right: list[list[int]]
    percentile: float
    by: str
    calibrated: int
    learned: list[str]
    layers: list[dict[str, Any]]


class ImportFacts(TypedDict):
    """``import.json``."""

    neuro: str
    source: SourceFacts
    library: str
    choices: dict[str, str]
    mapping: list[dict[str, str]]
    verification: VerificationFacts
    stimulus: StimulusFacts
    code: NotRequired[CodeFacts]
    conversion: NotRequired[ConversionFacts]


def describe_mapping(network: ImportedNetwork, folder: Path) -> list[dict[str, str]]:
    """Return how each part was imported, as in ``import.json``; folder: of the source."""
    return [
        {k: shorten_places(text, folder) for k, text in asdict(n).items()}
        for n in network.mapping
    ]


def shorten_places(text: str, folder: Path) -> str:
    """Shorten paths in a text: those in the folder of the source become relative to it.

    Other paths become file names, so that a run reveals no folder of the machine that made it.
    """
    # Containers of a library have no line in the user's code: their caller is this package.
    text = re.sub(r" at \S*\btasks/imported/\w+\.py:\d+", "", text)
    text = text.replace(f"{folder.resolve()}/", "")
    return re.sub(r"(?<!\S)/\S*/(\S+\.py:\d+)", r"\1", text)


def describe_rows(rows: tuple[ComparedPopulation, ...]) -> list[dict[str, Any]]:
    """Return the comparison with the source, as in ``import.json``."""
    return [asdict(row) for row in rows]


def read_mapping(facts: ImportFacts) -> list[MappedNode]:
    """Return the inverse of :func:`describe_mapping`."""
    return [convert(node, MappedNode) for node in facts["mapping"]]


def read_rows(facts: ImportFacts) -> list[ComparedPopulation]:
    """Return the inverse of :func:`describe_rows`."""
    return [convert(row, ComparedPopulation) for row in facts["verification"]["rows"]]


def save_decoding(path: Path, decoding: Decoding) -> None:
    """Write the decoding of the answers.

    Raises:
        StoreError: the file cannot be written.
    """
    words = {"over_ticks": decoding.over_ticks, "final": decoding.final}
    arrays = {"weights": decoding.weights, "bias": decoding.bias}
    save_arrays(path, {**arrays, **{name: np.array(word) for name, word in words.items()}})


def load_decoding(path: Path) -> Decoding:
    """Read a file that :func:`save_decoding` wrote.

    Raises:
        StoreError: the file is damaged.
    """
    arrays = load_arrays(path)
    try:
        return Decoding(
            weights=arrays["weights"],
            bias=arrays["bias"],
            over_ticks=str(arrays["over_ticks"]),
            final=str(arrays["final"]),
        )
    except KeyError as error:
        raise StoreError(
            f"{path}: has no array {error}; neuro import makes the run again"
        ) from error


def digest_files(folder: Path) -> dict[str, str]:
    """Return the digests of the files in ``KEPT``, by field; "" for a missing file."""
    return {
        field: digest((folder / file).read_bytes()) if (folder / file).is_file() else ""
        for field, file in KEPT.items()
    }


def read_facts(folder: Path) -> ImportFacts:
    """Return ``import.json``.

    Raises:
        StoreError: the file is damaged or has another layout; lists all problems.
    """
    path = folder / ABOUT
    try:
        facts: ImportFacts = convert(read_json(path), ImportFacts)
        read_mapping(facts)
        read_rows(facts)
        missing = [] if facts["stimulus"]["file"] else DRAWN - facts["stimulus"].keys()
        if missing:
            raise SchemaError(*(f"stimulus.{name}: is missing" for name in sorted(missing)))
    except SchemaError as error:
        raise StoreError(
            f"{path}: is not as this version writes it: {error}; neuro import makes the "
            "run again"
        ) from error
    return facts


def name_source(facts: ImportFacts) -> str:
    """Return the source as written on the command line, without its folder."""
    source = facts["source"]
    return f"{source['name']}:{source['function']}" if source["function"] else source["name"]


def make_config(folder: Path) -> ImportConfig:
    """Return the configuration that holds the present digests of the files."""
    facts = read_facts(folder)
    return ImportConfig(
        source=name_source(facts), library=facts["library"], **digest_files(folder)
    )


def list_digests(config: ImportConfig) -> dict[str, str]:
    """Return the digests that a configuration names, by field."""
    return {field: getattr(config, field) for field in KEPT}


def require_unchanged(folder: Path) -> None:
    """Raise a RunError that lists the files of a run that changed since the import."""
    now, then = digest_files(folder), _read_digests(folder)
    problems = [
        f"{folder / file}: {'has changed since the import' if now[field] else 'is gone'}; put "
        f"the file of SHA-256 {then[field][:16]}... back"
        for field, file in KEPT.items()
        if now[field] != then[field]
    ]
    if problems:
        cure = "or make the run again in another folder with neuro import"
        raise RunError("\n".join([*problems, cure]))


def _read_digests(folder: Path) -> Mapping[str, str]:
    """Return the digests in ``config.json``."""
    header = read_header(folder)
    try:
        config: ImportConfig = convert(header["config"], ImportConfig)
    except SchemaError as error:
        raise RunError(
            f"{folder / 'config.json'}: {error}; restore it from a copy, or import again"
        ) from error
    return list_digests(config)
