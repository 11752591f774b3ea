"""The command line: one function a verb.

Heavy imports wait inside the verbs, so that ``neuro --help`` answers at once.
"""

import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.markup import escape

from tasks.names import one_of

Device = Literal["cpu", "cuda"]
RunFolder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
Name = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TASK:CONFIGURATION")]
Folder = Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")]
console = Console()


def tasks() -> None:
    """List the tasks and their configurations."""
    from tasks.verbs.list_tasks import tasks_table

    console.print(tasks_table())


def train(
    name: Name,
    out: Folder = None,
    seed: int = 0,
    device: Device = "cpu",
    devices: int = 1,
    gradient: Literal["surrogate", "eventprop"] = "surrogate",
) -> None:
    """Train a task, or go on with a run that was interrupted.

    Args:
        name: task and configuration, for example mnist:tiny.
        out: run folder (default: runs/TASK-CONFIGURATION).
        seed: of the initial weights.
        device: where to train.
        devices: number of processes (DDP); also runs under torchrun.
        gradient: "surrogate" on the clock, or the exact one in continuous time.
    """
    from tasks.task import split_name

    task, config = split_name(name)
    out = out or Path("runs") / f"{task}-{config}"
    _train(_new_run(task, config, out, seed, gradient), device, devices)


def evaluate(run: RunFolder, device: Device = "cpu") -> None:
    """Measure the trained model on the held-out test split.

    Args:
        run: a run folder.
        device: where to compute.
    """
    from tasks.report import tables as show
    from tasks.verbs.train import evaluate

    console.print(show.evaluation(evaluate(_open(run), device)))


def simulate(
    run: RunFolder,
    clock: Literal["grid", "exact"] = "grid",
    workers: int = 1,
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
    from tasks.report.tables import simulation
    from tasks.verbs.cluster import workers_of
    from tasks.verbs.simulate import simulate_run

    with workers_of(cluster):
        result = simulate_run(_open(run), Grid() if clock == "grid" else Exact(), workers)
    console.print(simulation(result))
    if clock == "grid":
        right = f"accuracy {result['accuracy']:.2%} on " if "accuracy" in result else ""
        took = f"{result['milliseconds_per_sample']:.2f} ms each"
        console.print(f"{right}{result['n']:,} test samples, {took}")


def export(run: RunFolder) -> None:
    """Lower the network to Loihi integers and check them against Lava.

    Args:
        run: a run folder.
    """
    from tasks.report.tables import scaling
    from tasks.verbs.export import export

    result = export(_open(run))
    console.print(scaling(result["scaling"]))
    for chip, breaches in result["fits"].items():
        told = "\n".join(["does not fit:", *breaches]) if breaches else "fits"
        console.print(f"{chip} {told}", markup=False)
    _print_parity(result["reference_lava"])
    console.print(f"wrote {run / 'graph.npz'} and {run / 'program.npz'}")
    if result["reference_lava"].get("failed"):
        raise SystemExit(1)


def verify(run: RunFolder) -> None:
    """Compare torch, events, integers and Lava, spike by spike.

    Args:
        run: a run folder.
    """
    from tasks.report.tables import equality
    from tasks.verbs.verify import verify

    result = verify(_open(run))
    console.print(equality(result))
    right = ", ".join(f"{k} {v:.2%}" for k, v in result["accuracy"].items())
    console.print(f"{result['n']:,} test samples; accuracy: {right or 'none to tell'}")
    _print_parity(result["reference_lava"])
    lava = result["reference_lava"]
    if result["torch_events"]["mismatches"] or lava.get("mismatches") or lava.get("failed"):
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
    from tasks.verbs.simulate import energy

    asked = None if chip == "all" else find_chip(chip)
    result = energy(_open(run), asked)
    console.print(show.energy(result))
    for name in show.list_chips(result) if asked is None else [asked.name]:
        console.print(show.layers(name, result[name]))
    console.print(show.in_words(result), markup=False, highlight=False, soft_wrap=True)


def report(run: RunFolder) -> None:
    """Write report.html, one self-contained page.

    Args:
        run: a run folder.
    """
    from tasks.report.report import write_report

    console.print(f"wrote {write_report(_open(run))}")


def demo(out: Folder = None, seed: int = 0, device: Device = "cpu") -> None:
    """Train, replay, export, price and report one network on handwritten digits.

    Args:
        out: run folder (default: runs/demo).
        seed: of the initial weights.
        device: where to train.
    """
    from tasks.report import tables as show
    from tasks.verbs.demo import steps

    start, run = time.perf_counter(), _new_run("mnist", "demo", out or Path("runs/demo"), seed)
    _train(run, device, 1)
    results: dict[str, Any] = {}
    for name, title, do in steps():
        with console.status(title):
            begun = time.perf_counter()
            results[name] = do(run)
        console.print(f"[green]✓[/] {title} [dim]{time.perf_counter() - begun:.1f} s[/]")
    console.print(show.scaling(results["export"]["scaling"]))
    console.print(show.equality(results["verify"]))
    for chip in show.list_chips(results["energy"]):
        console.print(show.layers(chip, results["energy"][chip]))
    console.print(show.summary(results))
    took = time.perf_counter() - start
    console.print(f"seed {seed}, {took:.0f} s; open {results['report']}")


def bench(
    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")] = "",
    out: Path = Path("bench"),
    repeats: int = 3,
    only: str = "",
    quick: bool = False,
) -> None:
    """Measure neuro beside its peers on this machine; without a name, list what there is.

    Args:
        name: a benchmark.
        out: folder for NAME.json and NAME.png.
        repeats: timed runs of each subject; the best and the median are kept.
        only: parts to measure, with commas between them.
        quick: networks too small to judge, in seconds.
    """
    from tasks.bench import terminal
    from tasks.bench.catalog import Asked

    if not name:
        return terminal.show_names(console)
    parts = tuple(part.strip() for part in only.split(",") if part.strip())
    return terminal.show(console, name, Asked(out, repeats, parts, quick))


def _train(run: Any, device: str, devices: int) -> None:
    from tasks.report.progress import bar
    from tasks.report.tables import quality
    from tasks.verbs.train import fabric, train
    from tasks.verbs.trained_run import task_of

    precision = task_of(run).plan(run.config).precision
    launched = fabric(device, devices, precision)
    with bar(console, run, shown=launched.is_global_zero) as tell:
        progress = train(run, launched, tell)
    if launched.is_global_zero:
        metric = task_of(run).metric
        console.print(
            f"[green]✓[/] trained {progress.epoch} epochs, "
            f"best validation {metric} {quality(metric, progress.best)}, in {run.folder}"
        )


def _print_parity(parity: dict[str, Any]) -> None:
    from tasks.report.tables import parity as in_words

    console.print(in_words(parity), markup=False, soft_wrap=True)


def _open(folder: Path) -> Any:
    from neuro.io.run_folder import open_run
    from tasks.task import find

    return open_run(folder, lambda task: find(task).configs)


def _new_run(task: str, name: str, folder: Path, seed: int, gradient: str = "surrogate") -> Any:
    from neuro.io.run_folder import Run
    from tasks.task import find, find_config

    config = find_config(find(task), name)()
    return Run(folder=folder, task=task, name=name, seed=seed, config=config, gradient=gradient)


VERBS: dict[str, Any] = {
    "tasks": tasks,
    "train": train,
    "eval": evaluate,
    "simulate": simulate,
    "export": export,
    "verify": verify,
    "energy": energy,
    "report": report,
    "demo": demo,
    "bench": bench,
}


def main(argv: list[str] | None = None) -> None:
    """Run one verb; a mistake is told in one message, with exit status 2."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        if argv and not argv[0].startswith("-"):
            one_of(argv[0], tuple(VERBS), "verb")
        tyro.extras.subcommand_cli_from_dict(
            VERBS,
            prog="neuro",
            description="Spiking networks from training to chip.",
            args=argv,
        )
    except KeyboardInterrupt:
        console.print("interrupted; every file is whole, and the same command goes on training")
        sys.exit(130)
    except (ValueError, RuntimeError, OSError) as error:
        if os.environ.get("NEURO_DEBUG"):
            raise
        if os.environ.get("LOCAL_RANK", "0") != "0":  # the first of several processes tells
            sys.exit(2)
        text = f"[red]neuro:[/] {escape(str(error))}"
        Console(stderr=True).print(text, highlight=False, soft_wrap=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
