"""Verbs that make a run without a training: ``neuro get``, ``import``, ``convert``, ``check``.

Heavy imports wait inside the verbs, so that ``neuro --help`` answers at once.
"""

from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.text import Text

from tasks.cli.tell import console, tell_next
from tasks.cli.words import Number, OptionalPath, OptionalText, Whole
from tasks.report.terminal import DONE


def get(
    name: Annotated[
        str, tyro.conf.Positional, tyro.conf.arg(metavar="[NAME]", help_behavior_hint="")
    ] = "",
    out: OptionalPath = None,
) -> None:
    """Copy a trained run that neuro ships; without a name, list them.

    Args:
        name: of the run.
        out: the new run folder (default: runs/NAME).
    """
    from tasks.report.tables import make_table
    from tasks.runs.shipped import copy_shipped_run, list_shipped_runs

    if name:
        folder = out or Path("runs") / name
        run = copy_shipped_run(name, folder)
        trained = f"{run.shipment['command']}, commit {run.shipment['commit'][:12]}"
        console.print(
            DONE, f"{folder}: {run.shipment['about']}; trained by {trained}", soft_wrap=True
        )
        tell_next(folder, "eval", "verify", "energy", "report")
        return
    rows = (
        (
            run.name,
            f"{run.header['task']}:{run.header['name']}",
            f"{run.size / 1e6:.1f} MB",
            f"{run.shipment['cpu_minutes']:.3g} min",
            run.shipment["about"],
        )
        for run in list_shipped_runs()
    )
    title = "neuro get NAME copies a trained run; every verb takes its folder"
    console.print(make_table(title, "name", "task", "size", "trained in", "about", rows=rows))


def import_(  # noqa: PLR0913 - a flag each
    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")],
    out: OptionalPath = None,
    stimulus: OptionalPath = None,
    labels: OptionalPath = None,
    shape: OptionalText = "",
    ticks: Annotated[Whole | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")] = None,
    samples: Whole = 16,
    rate: Number = 0.1,
    seed: Whole = 0,
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
) -> None:
    """Make a run of a network from elsewhere; every verb but train then takes it.

    Args:
        source: a .nir file, a .net file of lava-dl, a .safetensors file of a Graph,
            file.py:function, whose function returns a module of snnTorch, Norse, SpikingJelly
            or lava-dl's SLAYER (the file is executed), or the folder of a published MatMul-free
            language model.
        out: run folder (default: runs/NAME of the source).
        stimulus: .npz with an array for each input, by its name, or one array; axes: ticks,
            samples, then the shape of the input; spikes of 0 and 1, or values (default: random
            spikes of the four numbers below). An array "labels" holds the labels.
        labels: .npy or .npz, the class of each sample, counted from 0; with labels the verbs
            measure an accuracy.
        shape: of one tick of one sample, such as 2,34,34, for modules (default: that of the
            stimulus).
        ticks: length of the random stimulus (default: 100, or as many as the source always
            runs), or of each image for a .net file whose input takes images.
        samples: of the random stimulus.
        rate: probability of a spike in a tick of the random stimulus.
        seed: of the random stimulus.
        set: a choice that the source leaves open: a keyword of its reader in neuro.interop,
            such as dt, discretisation and reset of a .nir file, time, layers, delay_shift and
            reset_interval of a .net file, or a field of a language model; as in
            --set dt=0.0001; may be repeated.
    """
    from tasks.imported import import_network as verb
    from tasks.language.checkpoint import import_checkpoint, is_checkpoint, tell_checkpoint

    if is_checkpoint(Path(source)):
        given = {"stimulus": stimulus, "labels": labels, "shape": shape, "ticks": ticks}
        if unused := [f"--{name}" for name, value in given.items() if value]:
            raise ValueError(
                f"{source} is a language model, which reads text: leave out {', '.join(unused)}"
            )
        run = import_checkpoint(Path(source), out or Path("runs") / Path(source).name, set)
        console.print(tell_checkpoint(run), soft_wrap=True)
        spiking = ("verify", "energy") if run.config.linear == "spiking" else ()
        tell_next(run.folder, "generate", "eval", *spiking)
        return

    words = verb.StimulusWords(
        file=stimulus, labels=labels, ticks=ticks, samples=samples, rate=rate, seed=seed
    )
    folder = out or Path("runs") / verb.name_run(source)
    with console.status(Text(f"importing {source}")):
        facts = verb.import_network(
            source, folder, words, verb.read_shape(shape), verb.read_choices(set)
        )
    verb.show_import(console, folder, facts)


def convert(  # noqa: PLR0913 - a flag each
    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN|FILE")],
    out: OptionalPath = None,
    images: OptionalText = "",
    shape: OptionalText = "",
    ticks: Whole = 32,
    percentile: Number = 99.9,
    by: Literal["channel", "layer"] = "channel",
    calibrated: Whole = 500,
    samples: Whole = 1000,
) -> None:
    """Make a spiking network of a trained ANN, and say what was lost where.

    It prints the accuracy after 1 to 64 ticks beside the ANN's, and the error of each layer;
    every verb but train takes the new run.

    Args:
        source: the run folder of an ANN, such as one of mnist:counted, or file.py:function,
            whose function returns a trained module that maps images to logits. The file is
            executed.
        out: run folder (default: runs/NAME-spiking of the source).
        images: of a module: digits (embedded), mnist, fashion or cifar10 of $NEURO_DATA, a
            folder with train/CLASS and val/CLASS, or an .npz with images and labels. Pixels
            are from 0 to 1; those of an .npz are taken as they are.
        shape: of an image, such as 3,32,32, where --images is a folder.
        ticks: length of the run.
        percentile: the output of a ReLU that a neuron reaches with a spike in every tick.
        by: one scale per channel, or per layer, which needs longer runs.
        calibrated: most images to find the scales with.
        samples: most other images to measure with, and to keep in the run.
    """
    from tasks.imported import convert as verb
    from tasks.imported.import_network import name_run, read_shape

    words = verb.ConversionWords(
        images=images,
        shape=read_shape(shape),
        ticks=ticks,
        percentile=percentile,
        by=by,
        calibrated=calibrated,
        samples=samples,
    )
    folder = out or Path("runs") / f"{name_run(source)}-spiking"
    with console.status(Text(f"converting {source}")):
        facts = verb.convert_network(source, folder, words)
    verb.print_conversion(console, folder, facts)


def check(
    network: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN|FILE")],
    target: str = "all",
    shape: OptionalText = "",
    ticks: Whole = 100,
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
) -> None:
    """List everything that targets cannot take of a network, before anything runs.

    The exit status is 1 if one of the targets refuses it.

    Args:
        network: a run folder, or a source as neuro import takes it.
        target: any of torch, events, exact, a chip, lava, netx, nir, nest, or all.
        shape: of one tick of one sample, such as 2,34,34, for modules.
        ticks: length of the runs to come, on which the head-room of integers depends; a run
            folder knows it.
        set: a choice that the source leaves open, as for neuro import.
    """
    from tasks.imported import check as verb
    from tasks.imported.import_network import read_choices, read_shape

    checked = verb.check_network(
        network, verb.read_targets(target), read_shape(shape), ticks, read_choices(set)
    )
    console.print(verb.tabulate_check(checked))
    for line in verb.list_problems(checked):
        console.print(line, highlight=False, soft_wrap=True)
    if any(checked.values()):
        raise SystemExit(1)
