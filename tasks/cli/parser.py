"""The command line: one function a verb.

Heavy imports wait inside the verbs, so that ``neuro --help`` answers at once.
"""

import math
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.text import Text

from tasks.cli.chip_verbs import bottleneck, energy, export
from tasks.cli.source_verbs import check, convert, get, import_
from tasks.cli.tell import (
    console,
    is_first_process,
    list_metrics,
    open_to_write,
    tell_dry_run,
    tell_integers,
    tell_next,
    tell_out_of_date,
    train_and_tell,
)
from tasks.cli.words import (
    FreeText,
    Name,
    Number,
    OptionalPath,
    OptionalText,
    RunFolder,
    Whole,
    require_words,
)
from tasks.report.terminal import DONE, NOTHING_KEPT, make_console, take_words, write_text
from tasks.runs.allocator import keep_freed_memory
from tasks.runs.names import require_one_of

Device = Literal["cpu", "cuda"]


def tasks(
    name: Annotated[
        str, tyro.conf.Positional, tyro.conf.arg(metavar="[TASK]", help_behavior_hint="")
    ] = "",
) -> None:
    """List the tasks, the configurations of one, or the fields of a configuration.

    Args:
        name: mnist lists its configurations, mnist:tiny the fields of one; without a name, all
            tasks are listed.
    """
    from tasks.measures.list_tasks import make_table_of

    console.print(make_table_of(name))


def train(  # noqa: PLR0913 - a flag each
    name: Name,
    out: OptionalPath = None,
    seed: Whole = 0,
    device: Device = "cpu",
    devices: Whole = 1,
    gradient: Literal["surrogate", "eventprop"] = "surrogate",
    logger: Literal["none", "csv", "tensorboard"] = "none",
    skip_bad: bool = False,
    sharded: bool = False,
    dry_run: bool = False,
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
    lr: Annotated[Number, tyro.conf.arg(help_behavior_hint="")] = math.nan,
    integers: Literal["none", "loihi2", "xylo"] = "none",
    largest_weight: Whole = 254,
) -> None:
    """Train a task, or resume an interrupted run.

    Args:
        name: task and configuration, for example mnist:full or path/to/my_task.py:tiny;
            without a configuration, tiny. With --integers, the folder of a trained run.
        out: run folder (default: runs/TASK-CONFIGURATION); with --integers, the folder of the
            new graph and program (default: RUN/integers-LARGEST_WEIGHT, or RUN/integers-xylo).
        seed: seed of the initial weights.
        device: where to train.
        devices: number of processes, each with the whole model (DDP); also runs under torchrun.
        gradient: "surrogate" on the clock, or the exact gradient in continuous time.
        logger: also write the curves into the run's logs folder, in this format.
        skip_bad: leave out damaged samples and count them in the report, instead of refusing
            the data set; every verb on the run does the same.
        sharded: each process keeps a share of the model (FSDP).
        dry_run: do not train; print the memory that the training would need on each device, and
            the time to expect.
        set: a field of the configuration, as in --set epochs=3; may be repeated. neuro tasks
            TASK:CONFIGURATION lists the fields.
        lr: the learning rate, as in --set lr=0.001.
        integers: go on with a trained run on the integers of this chip, for a tenth of its
            epochs at a tenth of its learning rate, beside the same steps in floats.
        largest_weight: of these integers, even, 2 to 254; a smaller one leaves fewer levels.
    """
    if largest_weight != 254 and integers != "loihi2":
        raise ValueError(
            f"--largest-weight is {largest_weight}; it counts with --integers loihi2 only"
        )
    if integers != "none":
        others = (seed, device, devices, gradient, logger, skip_bad, sharded, dry_run, set)
        kept = (*others, math.isnan(lr))
        return tell_integers(name, integers, out, largest_weight, kept)
    from tasks.runs.find import make_run, split_name

    settings = (*set, *([] if math.isnan(lr) else [f"lr={lr}"]))
    run = make_run(name, out, seed, gradient, skip_bad, settings, pin=not dry_run)
    full = ":".join(split_name(name))
    if full != name and is_first_process():
        more = [config for config in run.definition.configs if config != run.name]
        also = f"; it also has {', '.join(more)}" if more else ""
        line = f"{name} names no configuration: this is {full}{also}"
        console.print(line, highlight=False, soft_wrap=True)
    if dry_run:
        tell_dry_run(run, device, devices)
    else:
        train_and_tell(run, device, devices, logger, sharded)
        tell_next(run.folder, "eval")
    return None


def evaluate(run: RunFolder, device: Device = "cpu") -> None:
    """Measure the trained model on the held-out test split.

    Args:
        run: a run folder.
        device: where to compute.
    """
    from tasks.measures.progress_bar import show_share
    from tasks.measures.train import evaluate_run
    from tasks.report.tables import describe_evaluation

    opened = open_to_write(run)
    with show_share("eval"):
        result = evaluate_run(opened, device)
    console.print(describe_evaluation(result, list_metrics(opened)), soft_wrap=True)
    tell_out_of_date(opened, "eval")
    tell_next(run, "report")


def simulate(
    run: RunFolder,
    clock: Literal["grid", "exact"] = "grid",
    workers: Whole = 1,
    cluster: OptionalText = "",
) -> None:
    """Replay the test split on the event engine.

    Args:
        run: a run folder.
        clock: "grid" keeps the ticks of the training; "exact" also runs the network in
            continuous time, and prints how much the two differ.
        workers: number of processes that share the samples.
        cluster: address of a Ray cluster whose workers to use; "local" starts one here.
    """
    from neuro.events import Exact, Grid
    from tasks.measures.cluster import use_cluster
    from tasks.measures.progress_bar import show_share
    from tasks.measures.simulate import simulate_run
    from tasks.report import tables as show

    opened = open_to_write(run)
    with use_cluster(cluster), show_share("simulate"):
        result = simulate_run(opened, Grid() if clock == "grid" else Exact(), workers)
    console.print(show.tabulate_simulation(result, list_metrics(opened)))
    if clock == "grid":
        values = ", ".join(
            f"{m.label} {value}" for m, value in show.list_values(result, list_metrics(opened))
        )
        took = f"{result['milliseconds_per_sample']:.2f} ms each"
        console.print(f"{values and values + ' on '}{show.describe_length(result)}, {took}")
    for line in show.describe_coverage(result):
        console.print(line, soft_wrap=True)
    tell_out_of_date(opened, "simulate")


def verify(run: RunFolder) -> None:
    """Compare torch, events, integers and Lava, spike by spike.

    Args:
        run: a run folder.
    """
    from tasks.measures.progress_bar import show_share
    from tasks.measures.verify import has_disagreement, verify_run
    from tasks.report.tables import describe_equality, tabulate_equality

    opened = open_to_write(run)
    with show_share("verify"):
        result = verify_run(opened)
    console.print(tabulate_equality(result))
    for line in describe_equality(result, list_metrics(opened)):
        console.print(line, soft_wrap=True)
    tell_out_of_date(opened, "verify")
    if has_disagreement(result):
        raise SystemExit(1)


def report(run: RunFolder) -> None:
    """Write report.html, one self-contained page.

    Args:
        run: a run folder.
    """
    from tasks.report.report import write_report

    console.print(f"wrote {write_report(open_to_write(run))}")


def compare(
    runs: Annotated[
        tuple[Path, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="RUN [RUN ...]", help_behavior_hint="(required)"),
    ],
    out: Path = Path("compare"),
    markdown: bool = False,
) -> None:
    """Compare runs: mean and sd over seeds, paired differences from the first configuration.

    Args:
        runs: evaluated run folders, or quoted patterns that match them.
        out: folder for compare.json and compare.png.
        markdown: print Markdown tables.
    """
    from tasks.measures.compare import as_markdown, compare_runs
    from tasks.report.tables import make_table

    comparison = compare_runs(runs, out)
    if markdown:
        console.print(as_markdown(comparison), highlight=False, soft_wrap=True)
        return
    for sheet in comparison.sheets():
        table = make_table(sheet.title, *sheet.head)
        for row in sheet.rows:
            table.add_row(*row)
        console.print(table)
    for remark in comparison.remarks:
        console.print(remark, highlight=False, soft_wrap=True)
    console.print(f"wrote {out / 'compare.json'} and {out / 'compare.png'}")


def new(path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]) -> None:
    """Write a first task of your own: a classifier of the embedded digits.

    Args:
        path: the new file, such as my_task.py.
    """
    from tasks.images.new_task import write_template

    write_template(path)
    console.print(f"wrote {path}; train it with neuro train {path}:tiny", soft_wrap=True)


def demo(out: OptionalPath = None, seed: Whole = 0, device: Device = "cpu") -> None:
    """Train, replay, export, price and report one network on handwritten digits.

    Args:
        out: run folder (default: runs/demo).
        seed: seed of the initial weights.
        device: where to train.
    """
    from tasks.measures.demo import STEPS
    from tasks.report import tables as show
    from tasks.runs.find import make_run

    start, run = time.perf_counter(), make_run("mnist:demo", out or Path("runs/demo"), seed)
    train_and_tell(run, device, 1)
    results: dict[str, Any] = {}
    for step in STEPS:
        with console.status(step.done):
            begin = time.perf_counter()
            results[step.name] = step.apply(run)
        took = f"{time.perf_counter() - begin:.1f} s"
        console.print(DONE, step.done, Text(took, "dim"))
    console.print(show.tabulate_scaling(results["export"]["scaling"]))
    console.print(show.tabulate_equality(results["verify"]))
    for chip in show.list_chips(results["energy"]):
        console.print(show.tabulate_layers(chip, results["energy"][chip]))
    console.print(show.tabulate_summary(results, list_metrics(run)))
    seconds = time.perf_counter() - start
    console.print(f"seed {seed}, {seconds:.0f} s; open {results['report']}")


def bench(  # noqa: PLR0913 - a flag each
    name: Annotated[
        str, tyro.conf.Positional, tyro.conf.arg(metavar="[NAME]", help_behavior_hint="")
    ] = "",
    out: Path = Path("bench"),
    repeats: Whole = 3,
    only: OptionalText = "",
    quick: bool = False,
    runs: Annotated[tuple[Path, ...], tyro.conf.arg(help_behavior_hint="")] = (),
    workers: Whole = 1,
) -> None:
    """Compare neuro with its peers on this machine; without a name, list the benchmarks.

    Args:
        name: a benchmark, or a task's file that defines EXPERIMENTS.
        out: folder for NAME.json and NAME.png.
        repeats: timed runs of each subject; the best and the median are kept.
        only: the parts to measure, separated by commas.
        quick: take seconds, with networks that are too small to judge by.
        runs: folders of trained runs, for driving.
        workers: number of processes that share driving's courses or hybrids' trainings.
    """
    from tasks.bench.options import BenchOptions
    from tasks.cli import benches as terminal

    parts = tuple(part.strip() for part in only.split(",")) if only else ()
    options = BenchOptions(out, repeats, parts, quick, runs, workers)
    if name:
        return terminal.show(console, name, options)
    if options != BenchOptions():
        raise ValueError("neuro bench: flags without a NAME; without any, it lists the names")
    return terminal.show_names(console)


def pack(run: RunFolder, out: OptionalPath = None) -> None:
    """Pack a ternary language model, two bits a weight, for neuro generate FILE.

    Args:
        run: a run folder of the task language.
        out: the file (default: packed.safetensors in the run folder).
    """
    from tasks.language.pack import pack_run
    from tasks.runs.find import open_folder

    path, size = pack_run(open_folder(run), out)
    console.print(f"wrote {path}: {size}", highlight=False, soft_wrap=True)


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
        prompt: the beginning of the text.
        tokens: the largest number of tokens to write.
        temperature: divides the logits; 0 takes the most probable token.
        seed: seed of the draws.
        packed: two bits a weight: the same text, in less memory; a packed file always has them.
    """
    from tasks.language.writer import generate_text, load_writer

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
    """Generate a small data set in the formats of the real one, in a new folder.

    Args:
        kind: kind of the data set: nuscenes.
        path: the folder; if it holds the same data set already, nothing changes.
        scenes: number of scenes; every fifth belongs to the validation split.
        seed: seed of all random draws.
        workers: number of processes that share the work.
    """
    from tasks.measures.make_data import make_data_set

    with console.status(Text(f"making {scenes} scenes in {path}")):
        summary = make_data_set(kind, path, scenes, seed, workers)
    console.print(DONE, summary, soft_wrap=True)


def check_data(
    kind: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="KIND")],
    path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PATH")],
    version: OptionalText = "",
) -> None:
    """List all problems of a data set; the exit status is 1 if there are any.

    Args:
        kind: kind of the data set: nuscenes.
        path: its folder.
        version: its version, such as v1.0-mini; needed only where there are several.
    """
    from tasks.measures.check_data import check_data_set, shorten_problems

    with console.status(Text(f"checking {path}")):
        problems = check_data_set(kind, path, version)
    for line in shorten_problems(problems):
        console.print(line, highlight=False, soft_wrap=True)
    if problems:
        raise SystemExit(1)
    console.print(DONE, f"{path} is sound", soft_wrap=True)


VERBS: dict[str, Any] = {
    "tasks": tasks,
    "train": train,
    "get": get,
    "import": import_,
    "convert": convert,
    "check": check,
    "eval": evaluate,
    "simulate": simulate,
    "export": export,
    "verify": verify,
    "energy": energy,
    "bottleneck": bottleneck,
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
KEEPING = (train, demo, bench, bottleneck, make_data)  # verbs that continue from their files
KEPT = "no file is cut off; the same command goes on from what is kept"
ABOUT = "Spiking networks from training to chip; --version prints the version of neuro."
TRAINED = (
    "the same command resumes an interrupted run; everything else that a training depends on "
    "(epochs, batch) is a field of its configuration: neuro train mnist:tiny --set epochs=3 "
    "sets one, neuro tasks mnist:tiny lists them"
)


def main(argv: list[str] | None = None) -> None:
    """Run one verb; a mistake ends with one message and exit status 2."""
    keep_freed_memory()
    argv = take_words(argv)
    if argv == ["--version"]:
        from neuro.base.version import __version__

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
            # tyro keeps the line breaks of a docstring, which the terminal's width breaks anew.
            verb.__doc__ = re.sub(r"\n {12}", " ", verb.__doc__)
            with refuse_exit():
                tyro.cli(verb, prog=command, args=argv[1:])
    except KeyboardInterrupt as stop:
        _tell_interruption(str(stop), verbs.get("".join(argv[:1])))
        sys.exit(130)
    except BrokenPipeError:  # the reader has enough, as head has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        expected = isinstance(error, ValueError | RuntimeError | OSError)
        # An error in a task file is for the user to mend: its line says where.
        place = _find_task_line(error)
        if os.environ.get("NEURO_DEBUG") or not (expected or place):
            raise
        if not is_first_process():
            sys.exit(2)
        message = str(error) if expected else f"{type(error).__name__}: {error}"
        if place:
            message = f"{place}: {message}; NEURO_DEBUG=1 shows the traceback"
        stderr = make_console(stderr=True)
        stderr.print(Text("neuro:", "red"), message, highlight=False, soft_wrap=True)
        sys.exit(2)


@contextmanager
def refuse_exit() -> Iterator[None]:
    """Raise an error in place of the exit that a file of the user asks for."""
    try:
        yield
    except SystemExit as error:
        if place := _find_task_line(error):
            raise RuntimeError(
                f"{place}: ends the program (SystemExit: {error.code}) before neuro has what "
                "it needs; remove that, or put it below if __name__ == '__main__':"
            ) from error
        raise


def _tell_interruption(kept: str, verb: Any) -> None:
    """Print what an interrupted verb has kept; "": what verbs of its kind keep."""
    if is_first_process():
        usual = KEPT if verb in KEEPING else NOTHING_KEPT
        console.print(f"interrupted; {kept or usual}")


def _find_task_line(error: BaseException) -> str | None:
    if "tasks.runs.find" not in sys.modules:
        return None  # no task file has been read
    from tasks.runs.find import find_task_line

    return find_task_line(error)
