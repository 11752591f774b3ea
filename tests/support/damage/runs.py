"""Files of runs and of chips, and how each is read."""

import importlib.util
import json
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

from damage.ways import Subject, fresh, of_json, of_lines
from neuro.energy import chip_file
from neuro.io.run_folder import Run, begin_run, open_run


@dataclass(frozen=True)
class Config:
    epochs: int = 3
    lr: float = 0.1
    channels: tuple[int, int] = (1, 2)
    code: str | None = None


def make_config(folder: Path) -> Path:
    run = Run(folder=fresh(folder), task="digits", name="small", seed=1, config=Config())
    begin_run(run)
    return folder / "config.json"


def read_config(path: Path) -> str:
    run = open_run(path.parent, lambda _: {"small": Config})
    return repr(replace(run, folder=Path()))  # which is another for each case


def make_chip(folder: Path) -> Path:
    text = (chip_file.FOLDER / "loihi1.toml").read_text()
    (fresh(folder) / "mine.toml").write_text(text)
    return folder / "mine.toml"


def read_chip(path: Path) -> str:
    return repr(chip_file.read_chip(path))


@cache
def _load_report_tests() -> Any:
    """Return the module whose ``finish`` fills a run with what every verb leaves behind."""
    path = Path(__file__).parents[2] / "tasks" / "report" / "test_report.py"
    spec: Any = importlib.util.spec_from_file_location("report_tests", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_results(folder: Path, name: str) -> Path:
    fresh(folder)
    for path, data in _finish_run().items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(data)
    return folder / name


@cache
def _finish_run() -> dict[str, bytes]:
    """Return the files of a run where every verb has been, by their paths in its folder."""
    tests = _load_report_tests()
    with TemporaryDirectory() as folder:
        run = tests.begun(Path(folder) / "run")
        tests.finish(run, samples=2)  # to draw a report takes as long as all else
        add_what_some_runs_have(run)
        files = [path for path in run.folder.rglob("*") if path.is_file()]
        return {str(path.relative_to(run.folder)): path.read_bytes() for path in files}


def add_what_some_runs_have(run: Run) -> None:
    """Add to the results of a run what only some tasks, trainings and chips leave behind."""
    lines = (run.folder / "metrics.jsonl").read_text().splitlines()
    run.write_lines(
        "metrics.jsonl", [{**json.loads(line), "spikes": 900, "raised": 3} for line in lines]
    )
    Image.new("L", (4, 3)).save(run.folder / "seen.png")
    from tasks.runs.provenance import digest_file

    found = {
        verb: run.read(f"{verb}.json") for verb in ("eval", "simulate", "verify", "energy")
    }
    found["eval"] |= {
        "metrics": {"accuracy": {"better": "higher", "unit": "", "format": ".2%"}},
        "notes": {"accuracy": "of them"},
        "tables": [{"title": "By class", "head": ["class", "n"], "rows": [["one", 12]],
                    "caption": "Counted."}],
        "pictures": [{"file": "seen.png", "title": "Seen", "caption": "All.",
                      "digest": digest_file(run.folder / "seen.png")}],
    }  # fmt: skip
    for node in found["simulate"]["per_sample"].values():
        node["macs"] = 12.0
    for layer in found["verify"]["torch_events"]["layers"].values():
        layer["rounding"] = 1e-7
    for layer in found["verify"]["reference_lava"]["layers"].values():
        layer |= {"mismatches": 1, "first": {"tick": 1, "sample": 0, "neuron": 2, "cause": "x"}}
    for chip in ("loihi1", "loihi2"):
        found["energy"][chip]["misfits"] = ["too few cores"]
        for layer in found["energy"][chip]["layers"].values():
            layer["synaptic_events"] = 4321.5
    found["energy"]["host"] = [{"node": "lift", "macs": 1230}]
    found["energy"]["silent"] = {"nodes": ["hidden"]}
    found["energy"]["sequence"] = {"step": "token", "steps": 32}
    found["energy"]["conventional45nm"] |= {
        "host": 2.4e-8,
        "published": [
            {"low": 0, "high": 0.7, "unit": "spikes", "statement": "a", "source": "b"}
        ],
    }
    for verb, result in found.items():
        run.write(f"{verb}.json", result)


def read_results(path: Path) -> str:
    from tasks.report.report import write_report
    from tasks.runs.find import open_folder

    return write_report(open_folder(path.parent)).read_text()


SUBJECTS: dict[str, Subject] = {
    "config": Subject(make=make_config, damage=of_json, read=read_config),
    "chip": Subject(make=make_chip, damage=of_lines, read=read_chip),
    **{
        name: Subject(
            make=partial(make_results, name=name), damage=of_json, read=read_results, slow=10
        )
        for name in (
            *("eval.json", "simulate.json", "verify.json", "export.json", "energy.json"),
            *("metrics.jsonl", "environment.json"),
        )
    },
}
