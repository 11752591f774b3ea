"""Brian2 as a subject: interpreted with Cython, and as a separate C++ program.

Times exclude preparation: code is generated, compiled and loaded before the loop over ticks.
The compiler gets the fastest flags (``-O3 -ffast-math -march=native``).
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.bench.harness import Run, RunTiming
from tasks.bench.peers.problem import (
    BenchProblem,
    Projection,
    Synapses,
    iterate_projections,
    list_synapses,
)
from tasks.bench.peers.subjects_neuro import Make
from tasks.bench.stopwatch import Stopwatch

FLAGS = ("-w", "-O3", "-ffast-math", "-march=native", "-std=c++11")
CPU_TIME = "results/cpu_time"  # of the loop, in the folder of a program [s]


def cython(make: Make, _: int, target: str = "cython") -> Run:
    """Return a run from Python, each step in Cython.

    target: of Brian2's code; "numpy" needs no compiler. Brian2 caches compiled code regardless
    of flags, so it gets a new folder.
    """
    import brian2

    folder = tempfile.TemporaryDirectory(prefix="neuro-bench-")
    brian2.prefs.codegen.target = target
    brian2.prefs["codegen.cpp.extra_compile_args_gcc"] = list(FLAGS)
    brian2.prefs["codegen.runtime.cython.cache_dir"] = folder.name
    problem = make()
    network, monitor = _network(brian2, problem)
    network.store()

    def run() -> RunTiming:
        network.restore()
        watches: list[Stopwatch] = []
        timings: list[RunTiming] = []

        def at_start_and_end(_elapsed: Any, done: float, _start: Any, _duration: Any) -> None:
            if done == 0:
                watches.append(Stopwatch())
            elif done == 1:
                timings.append(watches[0].timing(0))

        network.run(
            problem.duration * brian2.second,
            report=at_start_and_end,
            report_period=1e9 * brian2.second,
        )
        return timings[-1]._replace(counted=int(monitor.num_spikes))

    run()  # compiles
    folder.cleanup()
    return run


def cpp(make: Make, _: int, flags: Sequence[str] = FLAGS) -> Run:
    """Return a run of a program in C++ on one thread. flags: of the compiler."""
    import brian2

    folder = tempfile.TemporaryDirectory(prefix="neuro-bench-")  # deleted with the process
    brian2.set_device("cpp_standalone", build_on_run=False, directory=folder.name)
    brian2.prefs["codegen.cpp.extra_compile_args_gcc"] = list(flags)
    problem, device = make(), brian2.get_device()
    network, monitor = _network(brian2, problem)
    begin = "const std::clock_t _begun = std::clock();"
    end = f'std::ofstream("{CPU_TIME}") << double(std::clock() - _begun) / CLOCKS_PER_SEC;'
    device.insert_code("before_network_run", begin)  # behind the sorting of the delays
    device.insert_code("after_network_run", end)
    network.run(problem.duration * brian2.second)
    device.build(directory=folder.name, compile=True, run=False, with_output=False)

    def run() -> RunTiming:
        device.run(with_output=False)
        cpu = float((Path(folder.name) / CPU_TIME).read_text())
        device.array_cache.clear()  # otherwise it returns values of the previous run
        return RunTiming(cpu, device._last_run_time, int(monitor.num_spikes))

    return run


def _network(brian2: Any, problem: BenchProblem) -> tuple[Any, Any]:
    """Return the network, and the monitor of its neurons."""
    mv, second = brian2.mV, brian2.second
    brian2.defaultclock.dt = problem.graph.dt * second
    projections = list(iterate_projections(problem))
    currents = sorted({p.tau for p in projections if p.tau is not None})
    sum_of = " + ".join(f"g{k}" for k in range(len(currents))) or "0*volt"
    equations = [f"dv/dt = (v_inf - v + {sum_of}) / tau : volt (unless refractory)"]
    equations += [f"dg{k}/dt = -g{k} / tau{k} : volt" for k in range(len(currents))]
    names = {f"tau{k}": tau * second for k, tau in enumerate(currents)}
    names |= {"tau": float(problem.cell.tau) * second}
    names |= {"threshold": float(problem.cell.threshold) * mv}
    cells = brian2.NeuronGroup(
        problem.size,
        "\n".join([*equations, "v_inf : volt (constant)"]),
        threshold="v >= threshold",
        reset="v = 0*volt",
        # Brian2 counts the tick of the spike, too.
        refractory=(problem.cell.refractory + problem.graph.dt) * second,
        method="exact",
        namespace=names,
    )
    cells.v, cells.v_inf = problem.start * mv, problem.v_inf * mv
    monitor = brian2.SpikeMonitor(cells, record=False)
    parts, sources = [cells, monitor], dict.fromkeys(problem.graph.firing, cells)
    together: dict[tuple[str, float | None], list[Projection]] = {}
    for p in projections:
        if p.source not in sources:
            events = problem.inputs[p.source]
            times = events.tick * problem.graph.dt * second
            source = brian2.SpikeGeneratorGroup(events.shape[2], events.neuron, times)
            sources[p.source] = source
            parts.append(source)
        origin = p.source if p.source in problem.inputs else ""
        together.setdefault((origin, p.tau), []).append(p)
    for (_, tau), of_current in together.items():
        pair = sources[of_current[0].source], cells
        current = None if tau is None else currents.index(tau)
        parts.append(_synapses(brian2, list_synapses(problem, of_current), pair, current))
    return brian2.Network(*parts), monitor


def _synapses(brian2: Any, listed: Synapses, pair: tuple[Any, Any], current: int | None) -> Any:
    # A jump finds a cell that is still held as it was; its current goes on.
    effect = "v_post += w * int(not_refractory_post)" if current is None else None
    synapses = brian2.Synapses(*pair, "w : volt", on_pre=effect or f"g{current}_post += w")
    synapses.connect(i=listed.source, j=listed.target)
    synapses.w = listed.weight * brian2.mV
    if listed.delay.any():
        synapses.delay = listed.delay * brian2.second
    return synapses
