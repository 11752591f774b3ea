"""The integer reference against real Lava, bit for bit, and Lava that is missing or fails."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_programs import Builder, even, same

import lava_export
from lava_export import reference
from lava_export.program import LoihiProgram, as_int32
from lava_export.run import (
    ON_SAMPLES,
    PACKAGES,
    RUNNER,
    LavaFailed,
    LavaMissing,
    available,
    find_interpreter,
    run,
)
from lava_export.runner import DONE
from neuro.base.units import Seconds
from neuro.spikes import Events, to_events


@pytest.fixture
def own_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start a child that imports Lava for each run, as users have it."""
    lava: Any = sys.modules["lava_export.run"]
    monkeypatch.setattr(lava, "run_child", lava.run_child.plain)


def every_topology(seed: int) -> LoihiProgram:
    """Return images through convolutions, a residual, delays, loops, lists, read-outs."""
    b = Builder(seed)
    rng = b.rng
    b.add("x", "input", (2, 6, 5), 0)
    b.add("conv", "lif", (3, 3, 5), 1, **b.lif())
    b.link(
        "x", "conv", kind="conv", weight=even(rng, 3, 2, 2, 3), shape=(2, 6, 5),
        stride=(2, 1), padding=(0, 1),
    )  # fmt: skip
    b.add("same", "alif", (3, 3, 5), 2, **b.alif(45))
    b.link(
        "conv", "same", kind="conv", weight=even(rng, 3, 3, 3, 3), shape=(3, 3, 5),
        padding=(1, 1),
    )  # fmt: skip
    b.link("conv", "same", 1, kind="identity", weight=even(rng, 45))
    b.add("fc", "alif", (4,), 3, **b.alif(4))
    b.link("same", "fc", kind="dense", weight=even(rng, 4, 45))
    b.link("x", "fc", kind="dense", weight=even(rng, 4, 60))  # a short cut that waits
    b.link("fc", "fc", 1, kind="dense", weight=even(rng, 4, 4))
    b.add("back", "lif", (4,), 4, **b.lif())
    b.link("fc", "back", 3, kind="dense", weight=even(rng, 4, 4))
    b.link("back", "fc", 2, kind="dense", weight=as_int32(np.full((4, 4), 254)))
    b.add("out", "li", (3,), 4, du=as_int32(900), dv=as_int32([0, 200, 4095]),
          bias_mant=as_int32([5, 0, -7]), bias_exp=as_int32(3), bias_after=2)  # fmt: skip
    b.link("fc", "out", kind="dense", weight=even(rng, 3, 4))
    at = rng.choice(4 * 45, 30, replace=False)
    places = as_int32(np.stack(np.divmod(at, 45)))
    b.link("same", "fc", 2, kind="sparse", weight=even(rng, 30), places=places, sizes=(4, 45))
    b.add("groups", "alif", (6, 2, 3), 3, **b.alif(36))
    b.link(
        "same", "groups", kind="conv", weight=as_int32(rng.integers(-120, 120, (6, 1, 2, 2))),
        shape=(3, 3, 5), groups=3, dilation=(1, 2),
        delays_in=as_int32(rng.integers(0, 5, 45)), delays_out=as_int32(rng.integers(0, 3, 36)),
    )  # fmt: skip
    b.add("sum", "li", (2,), 4, du=as_int32(-1), dv=as_int32(4096))
    b.link("groups", "sum", kind="dense", weight=even(rng, 2, 36))
    b.link("groups", "groups", 1, kind="dense", weight=even(rng, 36, 36),
           delays_in=as_int32(rng.integers(0, 3, 36)))  # fmt: skip
    return b.program()


def random_input(
    program: LoihiProgram, seed: int, ticks: int, samples: int
) -> dict[str, Events]:
    rng = np.random.default_rng(seed)
    return {"x": to_events(rng.random((ticks, samples, program["x"].size)) < 0.4)}


@pytest.mark.slow
@pytest.mark.lava
@pytest.mark.skipif(not available(), reason="lava-nc is not installed: make setup")
@pytest.mark.parametrize("seed", range(4))
def test_lava_computes_the_reference_bit_for_bit(seed: int) -> None:
    program = every_topology(seed)
    x = random_input(program, seed, 15, 2)
    record = reference.run(program, x, 18)
    assert all(len(e.tick) > 0 for e in record.spikes.values())
    same(record, run(program, x, 18))


@pytest.mark.slow
@pytest.mark.lava
@pytest.mark.skipif(not available(), reason="lava-nc is not installed: make setup")
@pytest.mark.usefixtures("own_child")
def test_lavas_own_lif_wraps_and_saturates_as_the_equation_says() -> None:
    """Edge values; beside each of Lava's populations the same one of ours, and a read-out."""
    b = Builder(0)
    b.add("x", "input", (700,), 0)
    for i, (du, dv, vth, w) in enumerate(
        [
            (0, 0, 131071, 254), (0, 0, 131071, -256), (4095, 0, 131071, -256),
            (4095, 4095, 0, 254), (0, 4095, 0, 2), (2048, 1, 131071, 254), (1, 1, 1000, -256),
        ]
    ):  # fmt: skip
        values = {"du": as_int32(du), "dv": as_int32(dv), "vth": as_int32(vth)}
        weight = as_int32(np.full((2, 700), w))
        for kind in ("lif", "alif"):
            name = f"{kind}{i}"
            b.add(name, kind, (2,), 1, **values)
            b.link("x", name, kind="dense", weight=weight)
        b.add(f"li{i}", "li", (2,), 1, du=as_int32(du), dv=as_int32(dv))
        b.link("x", f"li{i}", kind="dense", weight=weight)
    program = b.program()
    rng = np.random.default_rng(1)
    x = {"x": to_events(rng.random((30, 1, 700)) < rng.random((30, 1, 1)))}
    record = reference.run(program, x, 30)
    assert max(np.abs(v).max() for v in record.values.values()) == 2**23 - 1
    same(record, run(program, x, 30))
    for i in range(7):  # ours with hard reset and no adaptation is Lava's own
        assert np.array_equal(record.spikes[f"lif{i}"].tick, record.spikes[f"alif{i}"].tick)


@pytest.mark.slow
@pytest.mark.lava
@pytest.mark.skipif(not available(), reason="lava-nc is not installed: make setup")
def test_biases_of_stock_neurons_begin_at_the_ticks_of_their_own_layers() -> None:
    b = Builder(3)
    b.add("x", "input", (2,), 0)
    for lag, (bias, after) in enumerate([(900, 0), (700, 2), (1100, 0)], 1):
        how = {"bias_mant": as_int32(bias), "bias_after": after, "vth": as_int32(40)}
        b.add(f"n{lag}", "lif", (2,), lag, **how)
    for source, target in (("x", "n1"), ("n1", "n2"), ("n2", "n3")):
        b.link(source, target, kind="dense", weight=as_int32([[6, -4], [8, 2]]))
    program = b.program()
    x = {"x": to_events(np.random.default_rng(0).random((12, 2, 2)) < 0.4)}
    record = reference.run(program, x, 12)
    assert [len(record.spikes[f"n{k}"].tick) > 0 for k in (1, 2, 3)] == [True] * 3
    same(record, run(program, x, 12))


def tiny() -> tuple[LoihiProgram, dict[str, Events]]:
    b = Builder(0)
    b.add("x", "input", (1,), 0)
    b.add("n", "lif", (1,), 1)
    b.link("x", "n", kind="dense", weight=as_int32([[2]]))
    return b.program(), {"x": to_events(np.ones((2, 1, 1), bool))}


def test_the_interpreter_is_the_named_one_or_that_of_lavas_environment_or_this_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("NEURO_LAVA_PYTHON", raising=False)
    monkeypatch.setattr(sys.modules["lava_export.run"], "HOME", tmp_path)
    assert find_interpreter() == sys.executable
    own = tmp_path / "bin" / "python"
    own.parent.mkdir()
    own.touch()
    assert find_interpreter() == str(own)
    monkeypatch.setenv("NEURO_LAVA_PYTHON", "/no/such/python")
    assert find_interpreter() == "/no/such/python"
    assert not available()


def test_without_lava_the_message_says_which_command_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NEURO_LAVA_PYTHON", "/no/such/python")
    with pytest.raises(LavaMissing) as e:
        run(*tiny(), 2)
    assert "make setup" in str(e.value)
    assert f"/bin/pip install -r {PACKAGES} && " in str(e.value)
    assert "pip install --no-deps --ignore-requires-python lava-nc==0.10.0" in str(e.value)
    assert PACKAGES.read_text().count("numpy>=1.24,<2") == 1


def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    script = tmp_path / "runner.py"
    script.write_text(source)
    monkeypatch.setattr(sys.modules["lava_export.run"], "RUNNER", script)
    monkeypatch.setattr(sys.modules["lava_export.run"], "available", lambda: True)


@pytest.mark.usefixtures("own_child")
def test_a_child_that_fails_is_told_with_its_last_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child(
        tmp_path, monkeypatch, "print('line\\n' * 50)\nraise SystemExit('no room on the chip')"
    )
    with pytest.raises(LavaFailed, match="ended with code 1; its last output:") as e:
        run(*tiny(), 2)
    assert str(e.value).endswith("no room on the chip")
    assert str(e.value).count("\n") < 20


@pytest.mark.usefixtures("own_child")
def test_a_child_tells_how_many_samples_are_done_which_its_last_output_omits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = f"for k in range(3):\n    print({DONE!r}, flush=True)\n    time.sleep(1.2)\n"
    child(tmp_path, monkeypatch, f"import time\nprint('line')\n{done}raise SystemExit(1)")
    told: list[int] = []
    token = ON_SAMPLES.set(told.append)
    with pytest.raises(LavaFailed) as e:
        run(*tiny(), 2)
    ON_SAMPLES.reset(token)
    assert told == sorted(told)
    assert {2, 3} & set(told)
    assert str(e.value).endswith("its last output:\nline")


@pytest.mark.usefixtures("own_child")
def test_a_child_that_hangs_is_ended_with_all_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "grandchild"
    child(tmp_path, monkeypatch, f"sleep 86400 & echo $! > {mark}; wait")
    monkeypatch.setenv("NEURO_LAVA_PYTHON", "/bin/sh")
    for timeout in (0.5, 5.0, 50.0):  # on a busy machine even a shell may take its time
        with pytest.raises(LavaFailed, match=rf"did not end within {timeout:g} s"):
            run(*tiny(), 2, timeout=Seconds(timeout))
        if mark.exists() and mark.read_text():
            break
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", mark.read_text()],
        capture_output=True,
        text=True,
        check=False,
    )
    assert state.stdout.strip() in ("", "Z")


def test_a_child_ends_with_its_parent() -> None:
    folder = str(RUNNER.parent)
    orphan = (
        f"import sys, time; sys.path.insert(0, {folder!r}); import runner; "
        "runner.watch_parent(); print('watching', flush=True); time.sleep(86400)"
    )
    parent = (
        "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', "
        f"{orphan!r}], stdout=subprocess.PIPE, start_new_session=True); "
        "child.stdout.readline(); print(child.pid)"
    )
    told = subprocess.run(
        [sys.executable, "-c", parent], capture_output=True, text=True, check=True, timeout=300
    )
    deadline = time.perf_counter() + 300
    state = "S"
    while state[:1] not in ("", "Z") and time.perf_counter() < deadline:
        time.sleep(0.1)
        look = ["ps", "-o", "stat=", "-p", told.stdout.strip()]
        state = subprocess.run(look, capture_output=True, text=True, check=False).stdout.strip()
    assert state[:1] in ("", "Z")


def test_the_package_runs_lava_by_its_function() -> None:
    assert lava_export.run is run
    assert lava_export.run.__module__ == "lava_export.run"


@pytest.mark.slow
def test_this_process_never_imports_lava() -> None:
    source = "import sys, lava_export, lava_export.runner; sys.exit('lava' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", source], cwd=root, check=False).returncode == 0


@pytest.mark.slow
def test_what_a_killed_run_left_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while the child runs; the next run finds its folder, and leaves none itself."""
    code = """
import importlib, os, sys, tempfile
import numpy as np
from programs import program
from neuro.spikes import to_events

run = importlib.import_module("lava_export.run")
tempfile.tempdir, run.available = sys.argv[1], lambda: True


def start(*_, **__):
    if killed:
        os._exit(9)
    raise KeyError


run.subprocess.Popen = start
killed = os.fork() == 0
if not killed:
    os.wait()
    print(*os.listdir(sys.argv[1]))
try:
    run.run(program(), {"x": to_events(np.ones((2, 1, 9), bool))}, 2)
except KeyError:
    pass
"""
    path = [str(Path(__file__).parents[1] / "support"), *sys.path]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    command = [sys.executable, "-c", code, str(tmp_path)]
    left = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert [name.startswith(".neuro-lava.") for name in left] == [True]
    assert list(tmp_path.iterdir()) == []
