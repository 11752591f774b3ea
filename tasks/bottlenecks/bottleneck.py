"""``neuro bottleneck``: narrow layers where a trained network crosses from chip to chip."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lava_export.chip_program import list_misfits
from neuro.energy import Chip, find_chip
from neuro.io.run_folder import RunError
from neuro.io.store import require_writable, write_json
from tasks.bottlenecks import narrowing
from tasks.bottlenecks.boundary import list_open_channels
from tasks.bottlenecks.config import (
    BottleneckConfig,
    Link,
    count_bits_of_channel,
    count_channels,
)
from tasks.bottlenecks.curve import FILE, PICTURE, draw_curve
from tasks.bottlenecks.narrowing import ChosenCuts, CurvePoint
from tasks.bottlenecks.task import count_bits, find_image
from tasks.measures.train import evaluate_run, launch_fabric, train_run
from tasks.runs.configuration import list_problems
from tasks.runs.names import require_one_of
from tasks.runs.results import KEY
from tasks.runs.settings import set_fields
from tasks.runs.task import TaskRun
from tasks.runs.trained_run import load_trained_model, open_trained_run

LEARNED = "learned"  # value of --width: gates choose the widths
Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class NarrowWords:
    """The arguments of ``neuro bottleneck``.

    out: folder for the figures, and for a run of each trained network.
    chips, chip: number of chips, and the name or file of the chip.
    links: links of the networks.
    widths: widths to train, as "4", "1/8" or "learned"; (): only the curve without training.
    settings: fields of the configuration, ``name=value``.
    """

    out: Path
    chips: int
    chip: str = "loihi2"
    links: Sequence[Link] = ("spikes",)
    widths: Sequence[str] = ()
    settings: Sequence[str] = ()


def read_links(text: str) -> tuple[Link, ...]:
    """Return the links that a text names: names separated by commas, or "all".

    Raises:
        UnknownName: there is no such link.
    """
    if text == "all":
        return narrowing.LINKS
    names = tuple(dict.fromkeys(word.strip() for word in text.split(",")))
    for name in names:
        require_one_of(name, (*narrowing.LINKS, "all"), "link")
    return tuple(link for link in narrowing.LINKS if link in names)


def narrow_run(run: TaskRun, words: NarrowWords, tell: Tell = lambda _: None) -> dict[str, Any]:
    """Choose the cuts of a trained run, narrow it there, and write ``bottleneck.json``.

    The closed form is measured at full width, half of it and so on down to one channel. Each
    requested width is also trained, in its own run folder.

    Returns:
        The content of that file: cuts, points of the curve, the original.

    Raises:
        RunError: the run cannot be narrowed.
        CutError: the network cannot be cut over these chips; lists all reasons.
        ValueError: a width or a setting does not fit; nothing has been written.
    """
    narrowing.require_original(run)
    trained, chip = open_trained_run(run), find_chip(words.chip)
    graph, record = narrowing.record_network(trained)
    cuts = narrowing.choose_boundaries(graph, record, run.config, chip, words.chips)
    links = list_links(run.config, words.links)
    trainings = list_trainings(run, cuts, words, links)
    for config in trainings.values():
        if config.narrow.link == "spikes" and not config.narrow.gated:
            narrowing.require_only_links(config, chip)
    require_writable(words.out)
    points, original = [], narrowing.measure_point(run.config, trained.model, "original")
    for link in links:
        for widths in narrowing.list_widths(run.config, cuts.after):
            config = narrowing.narrow_config(run, cuts.after, widths, link)
            tell(f"closed form of {'+'.join(map(str, widths))} channels by {link}")
            model = narrowing.build_in_closed_form(config, trained.model)
            points.append(narrowing.measure_point(config, model, "pca"))
    for folder, config in trainings.items():
        tell(f"training {folder}")
        points.append(train_narrow(run, config, folder, chip))
    facts = {"accuracy": original.accuracy, "n": original.n, KEY: dict(trained.measured_on)}
    if record is not None and (misfits := list_misfits(graph, record.ticks, [chip])[chip.name]):
        facts["misfits"] = misfits
    result = {**describe_result(run, cuts, points, words), **facts}
    for folder in (words.out, run.folder, *trainings):
        write_json(folder / FILE, result)
        draw_curve(result, folder / PICTURE)
    return result


def list_links(config: BottleneckConfig, links: Sequence[Link]) -> list[Link]:
    """Return the links that a network can have.

    Raises:
        RunError: the network can have none of ``links``.
    """
    fitting = [link for link in links if config.cells == "lif" or link != "spikes"]
    if not fitting:
        raise RunError("--link: the twin without spikes sends none; take 8bit, 4bit or float")
    return fitting


def list_trainings(
    run: TaskRun, cuts: ChosenCuts, words: NarrowWords, links: Sequence[Link]
) -> dict[Path, BottleneckConfig]:
    """Return the configuration of each network to train, by run folder.

    Raises:
        ValueError: a width or a setting does not fit.
    """
    if words.settings and not words.widths:
        raise ValueError(
            "--set sets a field for the training, and without --width nothing is trained; add "
            "--width learned, or leave --set out"
        )
    trainings: dict[Path, BottleneckConfig] = {}
    for link in links:
        for text in words.widths:
            if text == LEARNED:
                widths = tuple(count_channels(run.config, k) for k in cuts.after)
                config = narrowing.narrow_config(run, cuts.after, widths, link, gated=True)
                config = set_fields(config, words.settings)
                if not config.narrow.penalty:
                    penalty = 1000 / count_bits(config)
                    config = replace(config, narrow=replace(config.narrow, penalty=penalty))
            else:
                widths = narrowing.read_width(text, run.config, cuts.after)
                config = narrowing.narrow_config(run, cuts.after, widths, link)
                config = set_fields(config, words.settings)
                config = drop_penalty(config)
            if problems := list_problems(config):
                raise ValueError("\n".join(["--set: the network does not hold:", *problems]))
            trainings[words.out / f"{link}-{text.replace('/', '_')}"] = config
    return trainings


def drop_penalty(config: BottleneckConfig) -> BottleneckConfig:
    """Return a configuration for fixed widths: only a penalty on spikes remains."""
    kept = config.narrow.penalty if config.narrow.price == "aer" else 0.0
    return replace(config, narrow=replace(config.narrow, penalty=kept))


def train_narrow(
    run: TaskRun, config: BottleneckConfig, folder: Path, chip: Chip
) -> CurvePoint:
    """Train and evaluate a narrow network in its folder; return its figures.

    With gates, the network with gates is trained first, in ``FOLDER-gates``, and then the
    network with the channels that the gates leave open.
    """
    if config.narrow.gated:
        gated = narrowing.make_narrow_run(run, config, folder.with_name(f"{folder.name}-gates"))
        _train(gated)
        config = keep_open(gated)
        if config.narrow.link == "spikes":
            narrowing.require_only_links(config, chip)
    narrow = narrowing.make_narrow_run(run, config, folder)
    _train(narrow)
    evaluate_run(narrow)
    model = load_trained_model(narrow)
    return narrowing.measure_point(config, model, "trained", str(folder))


def _train(run: TaskRun) -> None:
    train_run(run, launch_fabric(run, "cpu", 1))


def keep_open(gated: TaskRun) -> BottleneckConfig:
    """Return the configuration of the network with the channels that trained gates leave open.

    Each cut keeps at least one channel, which must carry at least the bits of an answer.
    """
    config: BottleneckConfig = gated.config
    kept = list_open_channels(load_trained_model(gated))
    side = find_image(config)[1]
    least = [count_bits_of_channel(config, side, after) for after in config.narrow.after]
    if min(least) < narrowing.CLASS_BITS:
        raise RunError(
            f"a channel of {min(least)} bits carries less than an answer, "
            f"{narrowing.CLASS_BITS:.1f} bits; use more ticks"
        )
    narrow = replace(
        config.narrow,
        widths=tuple(len(channels) for channels in kept.values()),
        gated=False,
        gates=str(gated.folder.resolve()),
    )
    return drop_penalty(replace(config, narrow=narrow))


def describe_result(
    run: TaskRun,
    cuts: ChosenCuts,
    points: Sequence[CurvePoint],
    words: NarrowWords,
) -> dict[str, Any]:
    """Return the content of ``bottleneck.json``: the cuts and the narrow networks."""
    original = [
        {**asdict(crossing), "bits": crossing.count_bits(cuts.code)}
        for crossing in cuts.partition.crossings
    ]
    return {
        "run": str(run.folder.resolve()),
        "chip": words.chip,
        "chips": [list(part) for part in cuts.partition.chips],
        "loads": list(cuts.partition.loads),
        "after": list(cuts.after),
        "original": original,
        "floor": narrowing.CLASS_BITS,
        "points": [point.as_json() for point in points],
    }


def describe_narrowing(result: dict[str, Any], out: Path) -> list[str]:
    """Return what the tables do not say, one sentence per line."""
    chips = "; ".join(
        f"chip {k}: {', '.join(part)} ({load:g} cores)"
        for k, (part, load) in enumerate(zip(result["chips"], result["loads"], strict=True))
    )
    n, accuracy = result["n"], 100 * result["accuracy"]
    lines = [
        chips,
        *(f"{result['chip']} cannot run the original: {x}" for x in result.get("misfits", ())),
        f"original: {accuracy:.2f} % of {n:,} test samples",
        f"an answer has {result['floor']:.2f} bits, the least of a cut",
    ]
    for point in (p for p in result["points"] if p["folder"]):
        verbs = "every verb takes it" if point["link"] == "spikes" else "neuro eval takes it"
        lines.append(f"{point['folder']} is a run: {verbs}")
    return [*lines, f"wrote {out / FILE} and {out / PICTURE}"]
