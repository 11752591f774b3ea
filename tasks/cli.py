"""The command line: one function a verb.

Heavy imports wait inside the verbs, so that ``neuro --help`` answers at once.
"""

import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.text import Text

from tasks.allocator import keep_freed_memory
from tasks.runs.names import require_one_of
from tasks.terminal import DONE, FAILED, make_console, take_words, write_text
from tasks.words import FreeText, Number, Whole, require_words

Device = Literal["cpu", "cuda"]
RunFolder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
Name = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TASK:CONFIGURATION")]
Folder = Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")]
console = make_console()


def tasks(
    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TASK")] = "",
) -> None:
    """List the tasks, the configurations of one, or the fields of a configuration.

    Args:
        name: mnist lists its configurations, mnist:tiny the fields of one.
    """
    from tasks.verbs.list_tasks import make_table_of

    console.print(make_table_of(name))


def train(  # noqa: PLR0913 - a flag each
    name: Name,
    out: Folder = None,
    seed: Whole = 0,
    device: Device = "cpu",
    devices: Whole = 1,
    gradient: Literal["surrogate", "eventprop"] = "surrogate",
    logger: Literal["none", "csv", "tensorboard"] = "none",
    skip_bad: bool = False,
    sharded: bool = False,
    dry_run: bool = False,
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
    lr: str = "",
) -> None:
    """Train a task, or go on with a run that was interrupted.

    Args:
        name: task and configuration, for example mnist:full or path/to/my_task.py:tiny;
            without a configuration, tiny.
        out: run folder (default: runs/TASK-CONFIGURATION).
        seed: of the initial weights.
        device: where to train.
        devices: number of processes, each with the whole model (DDP); also runs under torchrun.
        gradient: "surrogate" on the clock, or the exact one in continuous time.
        logger: also writes the curves into the run's logs folder, in this format.
        skip_bad: leave out what is damaged in the data, and count it in the report, instead of
            refusing the data; the run keeps to it in every verb.
        sharded: each of the processes keeps a share of the model (FSDP).
        dry_run: train nothing, and tell the memory that it would take of each device.
        set: a field of the configuration, as in --set epochs=3; may be given several times.
            neuro tasks TASK:CONFIGURATION lists them.
        lr: the learning rate, as in --set lr=0.001.
    """
    from tasks.runs.find import find_task_of, make_run, split_name

    settings = (*set, *([f"lr={lr}"] if lr else []))
    run = make_run(name, out, seed, gradient, skip_bad, settings, pin=not dry_run)
    full = ":".join(split_name(name))
    if full != name and _is_first_process():
        others = [config for config in find_task_of(run).configs if config != run.name]
        also = f"; it also has {', '.join(others)}" if others else ""
        said = f"{name} names no configuration: this is {full}{also}"
        console.print(said, highlight=False, soft_wrap=True)
    if dry_run:
        _tell_memory(run, devices)
    else:
        _train(run, device, devices, logger, sharded)


def evaluate(run: RunFolder, device: Device = "cpu") -> None:
    """Measure the trained model on the held-out test split.

    Args:
        run: a run folder.
        device: where to compute.
    """
    from tasks.report.tables import describe_evaluation
    from tasks.verbs.train import evaluate_run

    opened = _open(run)
    console.print(
        describe_evaluation(evaluate_run(opened, device), _metrics(opened)), soft_wrap=True
    )
    _tell_out_of_date(opened, "eval")


def simulate(
    run: RunFolder,
    clock: Literal["grid", "exact"] = "grid",
    workers: Whole = 1,
    cluster: str = "",
) -> None:
    """Replay the test split on the event engine.

    Args:
        run: a run folder.
        clock: "grid" keeps the ticks the network was trained with; "exact" runs it in
            continuous time as well and tells by how much the two differ.
        workers: samples are split over so many.
        cluster: address of a Ray cluster whose workers to use; "local" starts one here.
    """
    from neuro.events import Exact, Grid
    from tasks.report.tables import list_values, tabulate_simulation
    from tasks.verbs.cluster import use_cluster
    from tasks.verbs.simulate import simulate_run

    opened = _open(run)
    with use_cluster(cluster):
        result = simulate_run(opened, Grid() if clock == "grid" else Exact(), workers)
    console.print(tabulate_simulation(result, _metrics(opened)))
    if clock == "grid":
        told = ", ".join(
            f"{m.label} {value}" for m, value in list_values(result, _metrics(opened))
        )
        took = f"{result['milliseconds_per_sample']:.2f} ms each"
        console.print(f"{told and told + ' on '}{result['n']:,} test samples, {took}")
    _tell_out_of_date(opened, "simulate")


def export(run: RunFolder) -> None:
    """Lower the network to Loihi integers and check them against Lava.

    Args:
        run: a run folder.
    """
    from tasks.report.tables import tabulate_scaling
    from tasks.verbs.export import export_run

    opened = _open(run)
    result = export_run(opened)
    console.print(tabulate_scaling(result["scaling"]))
    for chip, breaches in result["fits"].items():
        told = "\n".join(["does not fit:", *breaches]) if breaches else "fits"
        console.print(f"{chip} {told}")
    _print_parity(result["reference_lava"])
    console.print(f"wrote {run / 'graph.safetensors'} and {run / 'program.safetensors'}")
    _tell_out_of_date(opened, "export")
    if result["reference_lava"].get("failed"):
        raise SystemExit(1)


def verify(run: RunFolder) -> None:
    """Compare torch, events, integers and Lava, spike by spike.

    Args:
        run: a run folder.
    """
    from tasks.report.tables import (
        describe_length,
        describe_silence,
        list_silent,
        tabulate_equality,
        tabulate_executors,
    )
    from tasks.verbs.verify import verify_run

    opened = _open(run)
    result = verify_run(opened)
    console.print(tabulate_equality(result))
    told = [describe_length(result), *tabulate_executors(result, _metrics(opened))]
    console.print("; ".join(told), soft_wrap=True)
    _print_parity(result["reference_lava"])
    for told_of in describe_silence(list_silent(result)):
        console.print(told_of, soft_wrap=True)
    for misfit in result.get("misfits", ()):
        console.print(misfit, soft_wrap=True)
    _tell_out_of_date(opened, "verify")
    lava = result["reference_lava"]
    both = result["torch_events"]
    if both["unexplained"]:
        first = (
            "{pair}, sample {sample}, tick {tick}, {name} neuron {neuron}, {margin:.2g} from "
            "its threshold, rounding at most {bound:.2g}".format(**both["unexplained"][0])
        )
        number = len(both["unexplained"])
        console.print(f"{number} differences that rounding does not explain; first: {first}")
    wrong = both["mismatches"] or both["unexplained"]
    if wrong or lava.get("mismatches") or lava.get("failed"):
        raise SystemExit(1)


def energy(run: RunFolder, chip: str = "all") -> None:
    """Estimate joules per inference on Loihi, layer by layer.

    Args:
        run: a run folder.
        chip: whose layers to show: a chip by name, or a chip of your own by its file, X.toml,
            which is then estimated beside the others.
    """
    from neuro.energy import find_chip
    from tasks.report import tables as show
    from tasks.verbs.energy import estimate_energy

    asked = None if chip == "all" else find_chip(chip)
    opened = _open(run)
    result = estimate_energy(opened, None if asked is None else chip)
    console.print(show.tabulate_energy(result))
    for name in show.list_chips(result) if asked is None else [asked.name]:
        console.print(show.tabulate_layers(name, result[name]))
    console.print(show.describe_energy(result), highlight=False, soft_wrap=True)
    for table, caption in show.tabulate_own(result):
        console.print(table)
        console.print(caption, highlight=False, soft_wrap=True)
    _tell_out_of_date(opened, "energy")


def report(run: RunFolder) -> None:
    """Write report.html, one self-contained page.

    Args:
        run: a run folder.
    """
    from tasks.report.report import write_report

    console.print(f"wrote {write_report(_open(run))}")


def compare(
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
    out: Path = Path("compare"),
    markdown: bool = False,
) -> None:
    """Compare runs: mean and sd over seeds, paired differences from the first configuration.

    Args:
        runs: evaluated run folders, or patterns of them in quotes.
        out: folder for compare.json and compare.png.
        markdown: print Markdown tables.
    """
    from tasks.report.tables import make_table
    from tasks.verbs.compare import as_markdown, compare_runs

    found = compare_runs(runs, out)
    if markdown:
        console.print(as_markdown(found), highlight=False, soft_wrap=True)
        return
    for sheet in found.sheets():
        shown = make_table(sheet.title, *sheet.head)
        for row in sheet.rows:
            shown.add_row(*row)
        console.print(shown)
    for remark in found.remarks:
        console.print(remark, highlight=False, soft_wrap=True)
    console.print(f"wrote {out / 'compare.json'} and {out / 'compare.png'}")


def new(path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]) -> None:
    """Write a task to start from: a classifier of the embedded digits.

    Args:
        path: a new file, such as my_task.py.
    """
    from tasks.verbs.new_task import write_template

    write_template(path)
    console.print(f"wrote {path}; train it with neuro train {path}:tiny", soft_wrap=True)


def demo(out: Folder = None, seed: Whole = 0, device: Device = "cpu") -> None:
    """Train, replay, export, price and report one network on handwritten digits.

    Args:
        out: run folder (default: runs/demo).
        seed: of the initial weights.
        device: where to train.
    """
    from tasks.report import tables as show
    from tasks.runs.find import make_run
    from tasks.verbs.demo import STEPS

    start, run = time.perf_counter(), make_run("mnist:demo", out or Path("runs/demo"), seed)
    _train(run, device, 1)
    results: dict[str, Any] = {}
    for step in STEPS:
        with console.status(step.done):
            begun = time.perf_counter()
            results[step.name] = step.apply(run)
        lasted = f"{time.perf_counter() - begun:.1f} s"
        console.print(DONE, step.done, Text(lasted, "dim"))
    console.print(show.tabulate_scaling(results["export"]["scaling"]))
    console.print(show.tabulate_equality(results["verify"]))
    for chip in show.list_chips(results["energy"]):
        console.print(show.tabulate_layers(chip, results["energy"][chip]))
    console.print(show.tabulate_summary(results, _metrics(run)))
    took = time.perf_counter() - start
    console.print(f"seed {seed}, {took:.0f} s; open {results['report']}")


def bench(  # noqa: PLR0913 - a flag each
    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")] = "",
    out: Path = Path("bench"),
    repeats: Whole = 3,
    only: str = "",
    quick: bool = False,
    runs: tuple[Path, ...] = (),
    workers: Whole = 1,
) -> None:
    """Measure neuro beside its peers on this machine; without a name, list what there is.

    Args:
        name: a benchmark.
        out: folder for NAME.json and NAME.png.
        repeats: timed runs of each subject; the best and the median are kept.
        only: parts to measure, with commas between them.
        quick: networks too small to judge, in seconds.
        runs: folders of trained runs, for driving.
        workers: processes that share the courses of driving, or the trainings of hybrids.
    """
    from tasks.bench.options import BenchOptions
    from tasks.verbs import bench as terminal

    parts = tuple(part.strip() for part in only.split(",")) if only else ()
    asked = BenchOptions(out, repeats, parts, quick, runs, workers)
    if name:
        return terminal.show(console, name, asked)
    if asked != BenchOptions():
        raise ValueError("neuro bench: flags without a NAME; without any, it lists the names")
    return terminal.show_names(console)


def pack(run: RunFolder, out: Path | None = None) -> None:
    """Write a ternary language model with two bits a weight, for neuro generate FILE.

    Args:
        run: a run folder of the task language.
        out: file to write (default: packed.safetensors in the run folder).
    """
    from tasks.runs.find import open_folder
    from tasks.verbs.pack import pack_run

    path, told = pack_run(open_folder(run), out)
    console.print(f"wrote {path}: {told}", highlight=False, soft_wrap=True)


def generate(
    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN|FILE")],
    prompt: FreeText = "",
    tokens: Whole = 200,
    temperature: Number = 1.0,
    seed: Whole = 0,
    packed: bool = False,
) -> None:
    """Let a trained language model write text.

    Args:
        run: a run folder of the task language, or a file that neuro pack wrote.
        prompt: what the text goes on from.
        tokens: how many to write, at most.
        temperature: by which logits are divided; 0 takes the most probable token.
        seed: of what is drawn.
        packed: compute with two bits a weight: the same text, in less memory; as a packed
            file always is.
    """
    from tasks.verbs.generate import generate_text, load_writer

    writer = load_writer(run, packed)
    for piece in generate_text(writer, prompt, tokens, temperature, seed):
        write_text(piece)
    print()


def data() -> None:
    """Make or check a data set; neuro data lists the verbs."""
    main(["data", "--help"])


def make_data(
    kind: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="KIND")],
    path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PATH")],
    scenes: Whole = 60,
    seed: Whole = 0,
    workers: Whole = 1,
) -> None:
    """Generate a small data set in its real formats, in a new folder.

    Args:
        kind: of data set: nuscenes.
        path: the folder; one that holds the same data set stays as it is.
        scenes: how many; every fifth is of the validation split.
        seed: of everything that is drawn by chance.
        workers: processes that share the work.
    """
    from tasks.verbs.make_data import make_data_set

    with console.status(Text(f"making {scenes} scenes in {path}")):
        told = make_data_set(kind, path, scenes, seed, workers)
    console.print(DONE, told, soft_wrap=True)


def check_data(
    kind: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="KIND")],
    path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PATH")],
    version: str = "",
) -> None:
    """Name all that is wrong in a data set; exit status 1 where anything is.

    Args:
        kind: of data set: nuscenes.
        path: its folder.
        version: which of its versions, such as v1.0-mini; may be left out where there is one.
    """
    from tasks.verbs.check_data import check_data_set, shorten_problems

    with console.status(Text(f"checking {path}")):
        problems = check_data_set(kind, path, version)
    for line in shorten_problems(problems):
        console.print(line, highlight=False, soft_wrap=True)
    if problems:
        raise SystemExit(1)
    console.print(DONE, f"{path} is sound", soft_wrap=True)


def _train(
    run: Any, device: str, devices: int, logger: Any = "none", sharded: bool = False
) -> None:
    from tasks.verbs.progress_bar import describe_training, show_progress
    from tasks.verbs.train import launch_fabric, train_run

    fabric = launch_fabric(run, device, devices, logger, sharded=sharded)
    with show_progress(console, run, shown=fabric.is_global_zero) as tell:
        progress = train_run(run, fabric, tell)
    if fabric.is_global_zero:
        mark = FAILED if progress.has_diverged or progress.silent else DONE
        first, *more = describe_training(run, progress)
        console.print(mark, first, soft_wrap=True)
        for line in more:
            console.print(line, soft_wrap=True)
        _tell_out_of_date(run)
        if progress.has_diverged:
            raise SystemExit(1)


def _tell_memory(run: Any, devices: int) -> None:
    from tasks.report.tables import make_table
    from tasks.verbs.dry_run import describe_dry_run, explain_dry_run, measure_dry_run

    found = measure_dry_run(run, devices)
    shown = make_table(
        f"MB of each of {devices} devices", "of what", "whole models (DDP)", "sharded (FSDP)"
    )
    for row in describe_dry_run(found):
        shown.add_row(*row)
    console.print(shown)
    console.print(explain_dry_run(found), highlight=False, soft_wrap=True)


def _print_parity(parity: dict[str, Any]) -> None:
    from tasks.report.tables import describe_parity as in_words

    console.print(in_words(parity), soft_wrap=True)


def _is_first_process() -> bool:
    """Say whether this process is the one of several that tells."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def _tell_out_of_date(run: Any, verb: str = "") -> None:
    """Say which results in a run folder are out of date, and if its training has not ended.

    verb: whose results are of now; "": none, as behind a training.
    """
    from tasks.report.key_figures import name_command
    from tasks.runs.provenance import describe_trained, describe_unfinished, list_out_of_date
    from tasks.runs.results import KEY

    if told := describe_unfinished(run):
        console.print(told, highlight=False, soft_wrap=True)
    now = run.read(f"{verb}.json")[KEY] if verb else describe_trained(run.folder)
    for old, why in list_out_of_date(run.folder, now).items():
        told = f"{old}.json is {why}; measure again: {name_command(run, old)}"
        console.print(told, highlight=False, soft_wrap=True)


def _open(folder: Path) -> Any:
    """Return the run of a folder into which a verb can write what it finds."""
    from neuro.io.store import require_writable
    from tasks.runs.find import open_folder

    run = open_folder(folder)
    require_writable(folder)
    return run


def _metrics(run: Any) -> Any:
    from tasks.runs.find import find_task_of

    return find_task_of(run).evaluation.metrics


VERBS: dict[str, Any] = {
    "tasks": tasks,
    "train": train,
    "eval": evaluate,
    "simulate": simulate,
    "export": export,
    "verify": verify,
    "energy": energy,
    "report": report,
    "compare": compare,
    "pack": pack,
    "generate": generate,
    "new": new,
    "demo": demo,
    "bench": bench,
    "data": data,
}
DATA_VERBS: dict[str, Any] = {"make": make_data, "check": check_data}
ABOUT = "Spiking networks from training to chip; --version tells which neuro."
TRAINED = (
    "the same command goes on with a run that was interrupted; all else that a training "
    "depends on (epochs, batch) is a field of its configuration: neuro train mnist:tiny --set "
    "epochs=3 sets one, neuro tasks mnist:tiny lists them"
)


def main(argv: list[str] | None = None) -> None:
    """Run one verb; a mistake is told in one message, with exit status 2."""
    keep_freed_memory()
    argv = take_words(argv)
    if argv == ["--version"]:
        from neuro.version import __version__

        return console.print(f"neuro {__version__}", highlight=False)
    verbs, prog = VERBS, "neuro"
    if argv[:1] == ["data"] and len(argv) > 1:
        verbs, prog, argv = DATA_VERBS, "neuro data", argv[1:]
    try:
        if not argv or argv[0].startswith("-"):
            tyro.extras.subcommand_cli_from_dict(
                verbs,
                prog=prog,
                description=ABOUT,
                args=argv,
            )
        else:
            verb = verbs[require_one_of(argv[0], tuple(verbs), "verb")]
            command = f"{prog} {argv[0]}"
            require_words(command, verb, argv[1:], TRAINED if verb in (train, demo) else "")
            tyro.cli(verb, prog=command, args=argv[1:])
    except KeyboardInterrupt:
        console.print("interrupted; every file is whole, and the same command goes on training")
        sys.exit(130)
    except BrokenPipeError:  # who reads has enough, as head has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        expected = isinstance(error, ValueError | RuntimeError | OSError)
        # What the code of a task file raises is the user's to mend: its line says where.
        place = _find_task_line(error)
        if os.environ.get("NEURO_DEBUG") or not (expected or place):
            raise
        if not _is_first_process():
            sys.exit(2)
        told = str(error) if expected else f"{type(error).__name__}: {error}"
        if place:
            told = f"{place}: {told}; NEURO_DEBUG=1 shows the traceback"
        made = make_console(stderr=True)
        made.print(Text("neuro:", "red"), told, highlight=False, soft_wrap=True)
        sys.exit(2)


def _find_task_line(error: Exception) -> str | None:
    if "tasks.runs.find" not in sys.modules:
        return None  # no task file has been read
    from tasks.runs.find import find_task_line

    return find_task_line(error)


if __name__ == "__main__":
    main()
