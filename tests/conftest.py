"""Seeds of tests, and the slow files: they run first, and `make quick` leaves them out."""

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
# The longest first; but while one process compiles the exact clock, the others need none of it.
SLOW = [
    "neuro/events/test_to_disk",
    "test_types",
    "tasks/bench/peers/test_training",
    "test_notebooks",
    "neuro/interop/test_nest",
    "tasks/bench/peers/test_subjects",
    "test_executors_agree",
    "neuro/training/test_distributed",
    "tasks/bench/peers/test_cost",
    "tasks/driving/test_chain",
    "test_mutate_inputs",
    "tasks/cli/test_cli",
    "test_docs",
    "tasks/runs/test_task_kinds",
    "tasks/report/test_report",
    "tasks/driving/test_drives",
    "tasks/driving/test_closed_loop",
    "tasks/measures",
    "tasks/bottlenecks/test_verb",
    "tasks/forecasting/recordings/test_task",
    "test_valued_nodes_agree",
    "tasks/images/generation/test_models",
    "neuro/neurons/test_fused_triton",
    "test_support_matrix",
    "docs/test_recipes",
    "tasks/runs/test_provenance",
    "neuro/nn/test_rounding",
    "neuro/events/exact/test_silence",
    "tasks/images/generation/test_task",
    "tasks/runs/test_task_files",
    "tasks/imported",
    "neuro/events/exact/test_closed_forms",
    "neuro/events/exact/test_laws",
    "tasks/language/test_rwkv",
    "neuro/eventprop/test_adjoint",
    "lava_export/test_run",
    "tasks/images/generation/test_inception",
    "neuro/training/test_loop",
    "neuro/events/test_engine",
    "tasks/bench",
    "neuro/graph/test_dilated_and_grouped",
    "tasks/language/test_task",
    "test_readme",
    "neuro/energy/test_sanafe",
    "neuro/energy/test_synapses",
    "neuro/eventprop/test_engine",
    "neuro/events/exact/test_crossings",
    "neuro/events/exact/test_instants",
    "neuro/events/exact/test_loops_and_layers",
    "neuro/events/exact/test_rows",
    "neuro/events/grid/test_kernels",
    "neuro/graph/test_a_new_connection",
    "neuro/graph/test_partition",
    "neuro/neurons/test_new_model",
    "neuro/neurons/test_normal_form",
    "tasks/driving/test_model",
    "tasks/driving/test_prediction",
    "tasks/driving/test_task",
    "tasks/driving/test_training",
    "tasks/images/generation",
    "tasks/runs/test_every_task",
    "tasks/runs/test_task",
    "tasks/report/test_terminal",
    "tasks/images/test_yinyang",
    "drivers/nuscenes/world",
    "drivers/text/test_tokenizers",
    "lava_export/test_graded",
    "lava_export/test_lower",
    "lava_export/test_no_memory",
    "neuro/energy/test_count",
    "neuro/energy/test_estimate",
    "neuro/events/exact/test_plain_python",
    "neuro/graph/test_paths",
    "neuro/graph/test_sparse",
    "neuro/io/test_store",
    "neuro/mixers/test_fla",
    "neuro/ops/test_jit",
    "tasks/driving/test_chip",
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
    places = {path: find_place(path) for path in {item.path for item in items}}
    for item in items:
        if places[item.path] < len(SLOW):
            item.add_marker("slow")
    # Processes take one file after the other: the short ones last, so that all end together.
    items.sort(key=lambda item: places[item.path])


def find_place(path: Path) -> int:
    """Return where a file, or its folder, stands among the slow ones; else their number."""
    if not path.is_relative_to(TESTS):
        return len(SLOW)
    name = path.relative_to(TESTS).with_suffix("").as_posix()
    found = (k for k, x in enumerate(SLOW) if name == x or name.startswith(f"{x}/"))
    return next(found, len(SLOW))


def pytest_sessionstart() -> None:
    lost = [name for name in SLOW if not list(TESTS.glob(f"{name}*"))]
    if lost:
        raise pytest.UsageError(f"tests/conftest.py names files that are gone: {lost}")
