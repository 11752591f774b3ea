"""Verbs of the command line about chips: ``neuro export``, ``energy`` and ``bottleneck``.

Heavy imports wait inside the verbs, so that ``neuro --help`` answers at once.
"""

from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.text import Text

from tasks.cli.tell import console, list_metrics, open_to_write, tell_out_of_date
from tasks.cli.words import OptionalPath, OptionalText, RunFolder, Whole


def export(
    run: RunFolder,
    net: bool = False,
    chip: str = "loihi",
    program: OptionalPath = None,
    c: OptionalPath = None,
) -> None:
    """Lower the network to the integers of a chip and check them.

    Those of Loihi are checked against Lava's simulator, if it is installed (Intel archived it
    in May 2026); those of another chip run beside the floats.

    Args:
        run: a run folder.
        net: also write program.net, which netx of lava-dl loads; of Loihi only.
        chip: loihi, or xylo.
        program: also write this file, which others read without neuro: integers, bounds and
            test vectors (docs/program_format.md); of Loihi only.
        c: also write this folder: C99 without malloc, with a test; of Loihi only.
    """
    from neuro.energy import load_one_core_chips
    from tasks.runs.names import require_one_of

    opened = open_to_write(run)
    chips = ("loihi", *load_one_core_chips())
    others = {"program": program, "c": c}
    if require_one_of(chip, chips, "chip", listed=True) != "loihi":
        given = [k for k, value in {"net": net, **others}.items() if value]
        if given:
            cure = f"leave out --{given[0]} or --chip"
            raise ValueError(f"--{given[0]} writes files for Loihi; {cure}")
        _export_to_chip(opened, run, chip)
        return
    from tasks.measures.export import export_run, write_for_others, write_nets
    from tasks.measures.verify import differs_from_lava
    from tasks.report.tables import describe_parity, tabulate_scaling

    result = export_run(opened)
    console.print(tabulate_scaling(result["scaling"]))
    for name, breaches in result["fits"].items():
        verdict = "\n".join(["does not fit:", *breaches]) if breaches else "fits"
        console.print(f"{name} {verdict}")
    console.print(describe_parity(result["reference_lava"]), soft_wrap=True)
    wrote = f"wrote {run / 'graph.safetensors'} and {run / 'program.safetensors'}"
    wrote_others = [write_for_others(run, k, path) for k, path in others.items() if path]
    for line in (wrote, *(write_nets(run) if net else ()), *chain.from_iterable(wrote_others)):
        console.print(line, highlight=False, soft_wrap=True)
    tell_out_of_date(opened, "export")
    if differs_from_lava(result["reference_lava"]):
        raise SystemExit(1)


def _export_to_chip(opened: Any, run: Path, chip: str) -> None:
    """Export to a chip of one core, and print its integers beside the floats."""
    from neuro.energy import load_one_core_chips
    from tasks.measures.export_to_chip import export_run_to
    from tasks.report.tables import describe_integers, tabulate_integers, tabulate_scaling
    from tasks.runs.results import name_result

    result = export_run_to(opened, load_one_core_chips()[chip])
    console.print(tabulate_scaling(result["scaling"], "worst\n/ 2^15"))
    console.print(tabulate_integers(result))
    wrote = f"wrote {run / f'program-{chip}.safetensors'}"
    for line in (*describe_integers(result, list_metrics(opened)), wrote):
        console.print(line, highlight=False, soft_wrap=True)
    tell_out_of_date(opened, name_result(chip))


def energy(run: RunFolder, chip: str = "all", map: str = "greedy") -> None:
    """Estimate joules per inference on chips, layer by layer.

    Args:
        run: a run folder.
        chip: show the layers on this chip: its name, or the file X.toml of a chip of your own,
            for which the energy is estimated, too; xylo is estimated only if it is named.
        map: greedy puts each layer on the fewest cores; energy or time searches for a
            placement that takes less of it, and prints both.
    """
    from neuro.energy import GOALS, find_hardware
    from tasks.measures.energy import estimate_energy
    from tasks.measures.progress_bar import show_share
    from tasks.report import tables as show
    from tasks.runs.names import require_one_of

    require_one_of(map, ("greedy", *GOALS), "mapping")
    goal = next((g for g in GOALS if g == map), None)
    chosen = None if chip == "all" else find_hardware([chip])[0]
    opened = open_to_write(run)
    with show_share("energy"):
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
    from tasks.bottlenecks import bottleneck as verb, curve
    from tasks.runs.find import open_folder

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
    console.print(curve.tabulate_cuts(result))
    console.print(curve.tabulate_points(result))
    for line in verb.describe_narrowing(result, folder):
        console.print(line, highlight=False, soft_wrap=True)
