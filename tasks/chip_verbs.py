"""Verbs of the command line about chips: ``neuro energy`` and ``neuro bottleneck``.

Heavy imports wait inside the verbs, so that ``neuro --help`` answers at once.
"""

from pathlib import Path
from typing import Annotated

import tyro
from rich.text import Text

from tasks.tell import console, open_to_write, tell_out_of_date
from tasks.words import OptionalPath, OptionalText, RunFolder, Whole


def energy(run: RunFolder, chip: str = "all", map: str = "greedy") -> None:
    """Estimate joules per inference on Loihi, layer by layer.

    Args:
        run: a run folder.
        chip: show the layers on this chip: its name, or the file X.toml of a chip of your own,
            for which the energy is estimated, too.
        map: greedy puts each layer on the fewest cores; energy or time searches for a
            placement that takes less of it, and prints both.
    """
    from neuro.energy import GOALS, find_chip
    from tasks.report import tables as show
    from tasks.runs.names import require_one_of
    from tasks.verbs.energy import estimate_energy

    require_one_of(map, ("greedy", *GOALS), "mapping")
    goal = next((g for g in GOALS if g == map), None)
    chosen = None if chip == "all" else find_chip(chip)
    opened = open_to_write(run)
    result = estimate_energy(opened, None if chosen is None else chip, goal)
    console.print(show.tabulate_energy(result))
    if goal is not None:
        console.print(show.tabulate_mappings(result))
    for name in show.list_chips(result) if chosen is None else [chosen.name]:
        console.print(show.tabulate_layers(name, result[name]))
    console.print(show.describe_energy(result), highlight=False, soft_wrap=True)
    for table, caption in show.tabulate_own(result):
        console.print(table)
        console.print(caption, highlight=False, soft_wrap=True)
    tell_out_of_date(opened, "energy")


def bottleneck(  # noqa: PLR0913 - a flag each
    run: RunFolder,
    chips: Whole = 2,
    chip: str = "loihi2",
    link: str = "spikes",
    width: OptionalText = "",
    out: OptionalPath = None,
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
) -> None:
    """Cut a trained network over several chips, and narrow it where it crosses.

    Args:
        run: a run folder of the task bottlenecks.
        chips: number of chips.
        chip: the chip, by its name, or the file X.toml of a chip of your own.
        link: what carries the channels: spikes, 8bit, 4bit or float values, several separated
            by commas, or all. Chips here run spikes only.
        width: widths to train, separated by commas: channels of each cut as 4, a share of them
            as 1/8, or learned, by gates (default: none; the closed form is measured alone).
        out: folder for the figures, and a run folder for each trained network (default:
            RUN-narrow).
        set: a field of the configuration, for the training, as in --set epochs=3; may be
            repeated.
    """
    from tasks.runs.find import open_folder
    from tasks.verbs import bottleneck as verb

    folder = out or Path(f"{run if run.name else run.resolve()}-narrow")
    words = verb.NarrowWords(
        out=folder,
        chips=chips,
        chip=chip,
        links=verb.read_links(link),
        widths=tuple(word.strip() for word in width.split(",")) if width else (),
        settings=set,
    )
    with console.status(Text(f"cutting {run}")) as status:
        result = verb.narrow_run(
            open_folder(run), words, lambda line: status.update(Text(line))
        )
    console.print(verb.tabulate_cuts(result))
    console.print(verb.tabulate_points(result))
    for line in verb.describe_narrowing(result, folder):
        console.print(line, highlight=False, soft_wrap=True)
