"""``neuro export``: converts the trained network to Loihi's integers, checked against Lava."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lava_export import ChipProgram, LowerError, RuleBreach, c99, load_program, lower_graph
from lava_export.netx import NetxError
from lava_export.openformat import list_unknown, write_program
from lava_export.parity import ExportReport, join_exports
from lava_export.program import LoihiProgram, ProgramError
from neuro.energy import load_chips
from neuro.energy.networks import join_messages, name_layer
from neuro.graph import Graph
from neuro.io.graph_file import save_graph
from tasks.measures.verify import check_samples
from tasks.runs.provenance import write_result
from tasks.runs.samples import Samples, iterate_batches
from tasks.runs.task import TaskRun
from tasks.runs.trained_run import open_trained_run


class Format(NamedTuple):
    """How a program leaves neuro: why it cannot, and what writes it to a path."""

    list_problems: Callable[[LoihiProgram], list[str]]
    write: Callable[[Path, LoihiProgram], None]


FORMATS: Mapping[str, Format] = {  # by flag of ``neuro export``
    "program": Format(list_unknown, write_program),
    "c": Format(c99.list_problems, c99.write_c),
}


class LoweredNetwork(NamedTuple):
    """The program of a network, and its report in ``export.json``."""

    program: ChipProgram
    report: ExportReport


def export_run(run: TaskRun, lava_samples: int = 8) -> dict[str, Any]:
    """Write ``graph.safetensors``, ``program.safetensors`` and ``export.json``.

    Further networks of the chip have their own files, such as ``graph-NAME.safetensors``.

    Returns:
        The contents of ``export.json``: the reports of :func:`export_samples` on all networks
        that the chip runs, as JSON values.

    Raises:
        LowerError: the networks have parts that Loihi cannot run.
        RuleBreach: a program fits none of the chips.
    """
    trained = open_trained_run(run)
    reports: dict[str, ExportReport] = {}
    problems = []
    for name, net in trained.networks.items():
        save_graph(run.folder / name_file("graph", name), net.graph)
        samples = net.iterate_samples(most=lava_samples or 1)  # one is enough for the ticks
        try:
            program, reports[name] = export_samples(net.graph, samples, lava_samples)
        except LowerError as error:
            problems += [name_layer(name, problem) for problem in error.problems]
        else:
            program.save(run.folder / name_file("program", name))
    if problems:
        raise LowerError(problems)
    result = join_exports(reports).as_json()
    write_result(run, "export", result, trained.measured_on)
    return result


def write_nets(folder: Path) -> list[str]:
    """Write each program of an exported run as a file for lava-dl's netx, beside the program.

    Returns:
        One line per file, with the call that loads it.

    Raises:
        NetxError: netx cannot express a program; no file is written.
    """
    programs = _load_programs(folder)
    problems = join_messages(
        {_name_network(file): p.list_net_problems() for file, p in programs.items()}
    )
    if problems:
        raise NetxError(problems)
    written = {file.with_suffix(".net"): program for file, program in programs.items()}
    return [f"wrote {path}; {p.write_net(path)} loads it" for path, p in written.items()]


def write_for_others(folder: Path, flag: str, path: Path) -> list[str]:
    """Write each program of an exported run for readers without neuro.

    Args:
        folder: the run.
        flag: a key of :data:`FORMATS`.
        path: where the program of the first network goes; paths of others end in -NAME.

    Returns:
        One line per program.

    Raises:
        ProgramError: the format cannot hold a program; nothing is written.
    """
    programs = {
        _name_network(file): p.program
        for file, p in _load_programs(folder).items()
        if p.kind != "xylo_program"  # of neuro export --chip
    }
    problems = join_messages({name: _list_misfits(flag, p) for name, p in programs.items()})
    if problems:
        raise ProgramError("\n".join([f"neuro export --{flag} cannot write:", *problems]))
    lines = []
    for name, program in programs.items():
        to = path.with_name(f"{path.stem}-{name}{path.suffix}") if name else path
        FORMATS[flag].write(to, program)
        lines.append(f"wrote {to}")
    return lines


def _load_programs(folder: Path) -> dict[Path, ChipProgram]:
    """Return the programs of an exported run, by file."""
    files = sorted(folder.glob("program*.safetensors"))
    return {file: load_program(file) for file in files}


def _name_network(file: Path) -> str:
    """Return the name of the network in a program's file; "" for the one that answers."""
    return file.stem.removeprefix("program").lstrip("-")


def _list_misfits(flag: str, program: Any) -> list[str]:
    """Return why a format cannot hold a program of any kind."""
    if isinstance(program, LoihiProgram):
        return FORMATS[flag].list_problems(program)
    return [
        "a program of graded groups in microcode, for which no such form exists; "
        "program.safetensors holds it, and lava_export.load_program reads it"
    ]


def export_samples(
    graph: Graph, samples: Samples | Iterable[Samples], lava_samples: int = 8
) -> LoweredNetwork:
    """Lower a network to the integers of Loihi, and check its program against Lava.

    samples: all of the same length; only the first batch runs.
    lava_samples: most samples of this batch that run on Lava; 0: none.

    Raises:
        LowerError: the network has parts that Loihi cannot run.
        RuleBreach: the program fits none of the chips.
        TypeError, ValueError: the samples do not fit the graph; the message holds the cure.
    """
    first = next(iterate_batches(graph, samples))
    program = lower_graph(graph, first.ticks, inputs=first.inputs)
    chips = [chip for chip in load_chips().values() if not chip.base]
    fits = {chip.name: program.list_breaches(chip) for chip in chips}
    if all(fits.values()):
        raise RuleBreach(chips[-1], fits[chips[-1].name])
    report = ExportReport(
        fits=fits,
        scaling=program.tabulate_rounding(graph),
        parity=check_samples(program, first, lava_samples),
    )
    return LoweredNetwork(program, report)


def name_file(kind: str, part: str) -> str:
    """Return the file name of a network's graph or program; the first network has no suffix."""
    return f"{kind}-{part}.safetensors" if part else f"{kind}.safetensors"
