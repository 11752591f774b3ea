"""What can be wrong with the state that a run goes on from."""

from neuro.events.program import Program
from neuro.events.state import EngineState


def require_state(program: Program, samples: int, state: EngineState) -> None:
    """Raise one ValueError unless ``state`` is one of this program and number of samples."""
    graph = program.graph
    want: dict[str, object] = {
        name: (program.dtype.name, (3, samples, graph.size(name))) for name in graph.populations
    }
    have: dict[str, object] = {n: (v.dtype.name, v.shape) for n, v in state.neurons.items()}
    for edge in (wire.edge for wire in program.wires if wire.edge.delay > 0):
        want[f"pending {edge}"] = (edge.delay, samples, graph.size(edge.source))
    have |= {f"pending {edge}": events.shape for edge, events in state.pending.items()}
    problems = [
        f"{name}: the state has {have.get(name)}, the run needs {want.get(name)}"
        for name in sorted(want.keys() | have.keys())
        if want.get(name) != have.get(name)
    ]
    if problems:
        cure = "go on with the same graph, samples and dtype, or start from rest"
        raise ValueError("\n".join([f"the state does not fit; {cure}:", *problems]))
