"""Seeds of tests, their order, and which cases of an oracle are left to `make nightly`."""

import atexit
import gc
import os
import signal
import sys
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from zlib import crc32

import pytest
import torch
import type_checks
import warm_lava
from hypothesis import register_random, settings

type_checks.install(("neuro", "drivers", "tasks", "lava_export"))

from neuro.base.seeds import seeded  # noqa: E402 its types are checked

warm_lava.install()

# Two processes collect all modules, and children import them: bytecode is kept for all.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A shell that starts the tests in the background makes them ignore Ctrl-C, which some raise.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

TESTS = Path(__file__).parent
# Files that take longest come first, so that the processes end together. While one process
# compiles the kernels of the exact clock, the others run files that need none of them.
FIRST = [
    "test_notebooks",
    "neuro/events/test_to_disk",
    "neuro/training/test_distributed",
    "tasks/bench/peers/test_subjects",
    "tasks/measures/test_dry_run",
    "neuro/events/test_engine",
    "docs/test_recipes",
    "neuro/events/grid/test_loops",
    "tasks/forecasting/recordings/test_task",
    "tasks/driving/test_chain",
    "tasks/cli/test_cli",
    "tasks/runs/test_task_kinds",
    "tasks/driving",
    "tasks/report",
    "tasks/measures",
    "tasks/bottlenecks",
    "tasks/bench",
    "neuro/neurons/test_fused_triton",
    "neuro/interop",
    "neuro/training",
]


class TorchRandom:
    """Torch's global generator, as Hypothesis seeds it before every example."""

    seed = staticmethod(torch.manual_seed)  # noqa: TID251
    getstate = staticmethod(torch.get_rng_state)
    setstate = staticmethod(torch.set_rng_state)


TORCH_RANDOM = TorchRandom()  # Hypothesis keeps a weak reference
register_random(TORCH_RANDOM)
# Laws hold however long an example takes: compilation and a loaded machine make one slow.
EXAMPLES = 200 if os.environ.get("NEURO_NIGHTLY") == "1" else 25
settings.register_profile("neuro", deadline=None, max_examples=EXAMPLES)
settings.load_profile("neuro")


THREADS = torch.get_num_threads()


@pytest.fixture(autouse=True)
def torch_is_as_new(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test draws, and on how many threads, does not depend on the tests before it."""
    with seeded(crc32(request.node.nodeid.encode())):
        yield
    torch.set_num_threads(THREADS)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep all that is imported and collected out of every later collection of garbage.

    It stays to the end, and to look through all of it takes a second.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()
        atexit.register(gc.unfreeze)  # else libraries tell of leaks


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for sample in item.iter_markers("sample"):
            given = item.callspec.params  # type: ignore[attr-defined]
            if any(given[name] != value for name, value in sample.kwargs.items()):
                item.add_marker("nightly")
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    places = {path: find_place(path) for path in {item.path for item in items}}
    # Processes take one file after the other: files without a slow test are last.
    items.sort(key=lambda item: (places[item.path], item.path not in slow))


def find_place(path: Path) -> int:
    """Return where a file, or its folder, stands among the first; else their number."""
    if not path.is_relative_to(TESTS):
        return len(FIRST)
    name = path.relative_to(TESTS).with_suffix("").as_posix()
    found = (k for k, x in enumerate(FIRST) if name == x or name.startswith(f"{x}/"))
    return next(found, len(FIRST))


def pytest_sessionstart() -> None:
    lost = [name for name in FIRST if not list(TESTS.glob(f"{name}*"))]
    if lost:
        raise pytest.UsageError(f"tests/conftest.py names files that are gone: {lost}")
