"""Compiled code is kept under a name made of the sources that it is compiled from."""

import importlib
import inspect
import os
import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from numba.core.registry import CPUDispatcher

import neuro
from neuro.ops.jit import (
    COMPILING,
    REPORTED,
    _folder,
    _sources_used,
    digest_of_sources,
    list_sources,
)

MODULES = [
    importlib.import_module(m.name)
    for m in pkgutil.walk_packages(neuro.__path__, "neuro.")
    if "triton" not in m.name
]


def compiled(module: ModuleType) -> list[Any]:
    """Return the compiled functions that a module defines."""
    found = (f for f in vars(module).values() if isinstance(f, CPUDispatcher))
    return [f for f in found if f.py_func.__module__ == module.__name__]


WITH_KERNELS = [m.__name__ for m in MODULES if compiled(m)]


@pytest.mark.parametrize("name", WITH_KERNELS)
def test_the_digest_covers_every_compiled_function_that_is_called(name: str) -> None:
    module = sys.modules[name]
    waiting, seen = compiled(module), set()
    while waiting:
        function = waiting.pop().py_func
        seen.add(function.__module__)
        for used in function.__code__.co_names:
            other = function.__globals__.get(used)
            if isinstance(other, CPUDispatcher) and other.py_func.__module__ not in seen:
                waiting.append(other)
    assert seen <= {*list_sources(name)}


@pytest.mark.parametrize("name", WITH_KERNELS)
def test_no_compiled_function_depends_on_training_files_or_torch_layers(name: str) -> None:
    others = ("neuro.training", "neuro.io", "neuro.nn", "neuro.energy", "neuro.interop")
    assert not [m for m in list_sources(name) if m != name and m.startswith(others)]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package: a kernel, the constant it reads, what that is made of, and a bystander."""
    folder = tmp_path / "kernels_for_a_test"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "deeper.py").write_text("ONE = 1\n")
    (folder / "constant.py").write_text(
        "from kernels_for_a_test.deeper import ONE\nTWO = 2 * ONE\n"
    )
    (folder / "bystander.py").write_text("def idle() -> int:\n    return 0\n")
    (folder / "first.py").write_text(
        "from kernels_for_a_test.bystander import idle\n"
        "from kernels_for_a_test.constant import TWO\n"
        "from neuro.ops.jit import kernel\n\n"
        "@kernel\ndef double(x):\n    return TWO * x\n\n"
        "def other():\n    return idle()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [m for m in sys.modules if m.startswith("kernels_for_a_test")]:
        del sys.modules[name]
    _sources_used.cache_clear()
    _folder.cache_clear()
    beside = Path(inspect.getfile(neuro)).parent / "__pycache__"
    for left in beside.glob("compiled-kernels_for_a_test*"):
        shutil.rmtree(left)


def test_only_a_source_that_is_compiled_changes_the_digest(package: Path) -> None:
    module = importlib.import_module("kernels_for_a_test.first")
    assert module.double(4) == 8
    before = digest_of_sources(module.__name__)
    (package / "bystander.py").write_text("def idle() -> int:\n    return 1\n")
    assert digest_of_sources(module.__name__) == before
    for changed in ("deeper", "constant"):
        before = digest_of_sources(module.__name__)
        (package / f"{changed}.py").write_text("ONE, TWO = 1, 3\n")
        assert digest_of_sources(module.__name__) != before


@pytest.mark.slow
def test_a_compilation_is_told_once_on_stderr_and_what_lies_on_disk_is_not(
    package: Path, tmp_path: Path
) -> None:
    first = package / "first.py"
    first.write_text(f"{first.read_text()}\n@kernel\ndef treble(x):\n    return 3 * x\n")
    code = "from kernels_for_a_test.first import double, treble; print(double(4), treble(5))"
    path = os.pathsep.join(map(str, (tmp_path, Path(neuro.__file__).parents[1])))
    own = {k: v for k, v in os.environ.items() if k != REPORTED} | {"PYTHONPATH": path}
    child = f"import os; {code}; assert os.environ['{REPORTED}'] == '1'"
    new = {**own, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    for words, env, told in (
        (child, own, f"{COMPILING}\n"),
        (code, own, ""),  # on disk
        (code, {**new, REPORTED: "1"}, ""),  # the parent has told it
    ):
        done = subprocess.run(
            [sys.executable, "-c", words],
            env=env,
            capture_output=True,
            text=True,
            check=True,
        )
        assert (done.stdout, done.stderr) == ("8 15\n", told)


def test_after_an_update_of_a_constant_elsewhere_no_old_code_runs(package: Path) -> None:
    first = importlib.import_module("kernels_for_a_test.first")
    assert first.double(4) == 8
    (package / "constant.py").write_text("TWO = 3  # a longer file\n")
    for name in ("first", "constant"):
        del sys.modules[f"kernels_for_a_test.{name}"]
    importlib.invalidate_caches()
    _folder.cache_clear()
    again = importlib.import_module("kernels_for_a_test.first")
    assert again.double(4) == 12
