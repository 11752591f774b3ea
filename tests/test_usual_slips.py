"""What a new user is likely to write: an error that says what was given and the cure, or it
simply works where its meaning is plain.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from torch import nn

import lava_export
from lava_export import lower, reference
from neuro import (
    ALIF,
    IF,
    LI,
    LIF,
    AvgPool2d,
    Checkpointed,
    Conv1d,
    Conv2d,
    ConvTranspose2d,
    Delay,
    Dense,
    Edge,
    Graph,
    GraphError,
    Input,
    Outer,
    Recurrent,
    Residual,
    Softmax,
    Sparse,
    Spiking,
    Stack,
    Unflatten,
    Upsample,
    to_events,
    to_raster,
    to_ticks,
    to_times,
)
from neuro.codes import rate
from neuro.energy import count, estimate, estimate_chips, find_chip
from neuro.events import Exact, Grid, Recording, simulate
from neuro.graph.random import fixed_indegree, fixed_probability
from neuro.io.graph_file import save_graph
from neuro.io.record_file import save_record
from neuro.neurons import LIFState, psc_gain, run_population
from neuro.nn import Net, replay
from neuro.nn.spiking import LayerError, NotANumber
from neuro.nn.trace import trace
from neuro.record import concatenate
from neuro.units import Seconds, Ticks, ticks

DT = Seconds(1e-3)
RASTER = np.ones((4, 2, 3), np.float32)
X = torch.ones(4, 2, 3)
GRAPH = Graph(
    nodes={
        "input": Input(shape=(3,)),
        "fc": Dense(weight=np.ones((2, 3))),
        "out": LIF(tau=0.02),
    },
    edges=(Edge("input", "fc"), Edge("fc", "out")),
    dt=DT,
)
STIMULUS = {"input": to_events(RASTER)}
RECORD, STATE = simulate(GRAPH, STIMULUS)
PROGRAM = lower(GRAPH, ticks=4)
CELLS = Spiking(LIF(tau=0.02))


def net() -> Any:
    return Stack(fc=nn.Linear(3, 2), cells=Spiking(LIF(tau=0.02)))


def graph(**changes: Any) -> Graph:
    given: Any = {"nodes": GRAPH.nodes, "edges": GRAPH.edges, "dt": DT, **changes}
    return Graph(**given)


def call(function: Any, *given: Any, **named: Any) -> Callable[[], Any]:
    return lambda: function(*given, **named)


# What is written: (what raises, its error, what was given, the cure)
SLIPS: dict[str, tuple[Callable[[], Any], type[Exception], str, str]] = {
    # A raster that is none.
    "to_events(list)": (call(to_events, [[[1]]]), TypeError, "got a list", "np.array"),
    "to_events(T N)": (
        call(to_events, np.ones((4, 3))),
        ValueError,
        "(4, 3)",
        "raster[:, None]",
    ),
    "to_events(words)": (
        call(to_events, np.full((1, 1, 1), "a")),
        TypeError,
        "got a NumPy array of shape (1, 1, 1), <U1",
        "an array or tensor of numbers",
    ),
    "to_events(uint8)": (
        call(to_events, np.full((4, 2, 3), 255, np.uint8)),
        ValueError,
        "a raster of uint8 with values up to 255 may be an image",
        "spikes of value 1 are raster > 0",
    ),
    "rate(NumPy)": (call(rate, RASTER, 4), TypeError, "a NumPy array", "torch.from_numpy(x)"),
    # Something else in place of Events, a Graph, a clock, a record, a chip.
    "simulate(raster)": (
        call(simulate, GRAPH, {"input": RASTER}),
        TypeError,
        "input must be Events or Times, got a NumPy array of shape (4, 2, 3), float32",
        "neuro.to_events(raster)",
    ),
    "simulate(tensor)": (
        call(simulate, GRAPH, {"input": X}, Exact()),
        TypeError,
        "got a Tensor of shape (4, 2, 3), torch.float32",
        "neuro.to_events(raster)",
    ),
    "simulate(Events)": (
        call(simulate, GRAPH, STIMULUS["input"]),
        TypeError,
        "got an Events",
        '{"input": neuro.to_events(raster)}',
    ),
    "simulate(net)": (call(simulate, net(), STIMULUS), TypeError, "got a Stack", "trace(net, "),
    "replay(raster)": (
        call(replay, GRAPH, {"input": X}),
        TypeError,
        "input must be Events or Times, got a Tensor",
        "neuro.to_events(raster)",
    ),
    "replay(Times)": (
        call(replay, GRAPH, {"input": to_times(STIMULUS["input"], DT)}),
        ValueError,
        "input: Times, and this executor runs in ticks",
        "neuro.spikes.to_ticks(times, dt)",
    ),
    "replay(net)": (call(replay, net(), STIMULUS), TypeError, "got a Stack", "trace(net, "),
    "reference.run(raster)": (
        call(reference.run, lower(GRAPH, ticks=4), {"input": RASTER}, 4),
        TypeError,
        "input must be Events or Times, got a NumPy array",
        "neuro.to_events(raster)",
    ),
    "reference.run(Graph)": (
        call(reference.run, GRAPH, STIMULUS, 4),
        TypeError,
        "program must be a LoihiProgram, got a Graph",
        "lava_export.lower(graph, ticks=...)",
    ),
    "reference.run(ticks=4.)": (
        call(reference.run, PROGRAM, STIMULUS, ticks=4.0),
        TypeError,
        "ticks must be a whole number of ticks, got 4.0",
        "neuro.units.ticks(seconds, dt)",
    ),
    "lava_export.run(Graph)": (
        call(lava_export.run, GRAPH, STIMULUS, 4),
        TypeError,
        "got a Graph",
        "lava_export.lower(graph, ticks=...)",
    ),
    "lower(ticks=30.)": (
        call(lower, GRAPH, ticks=30.0),
        TypeError,
        "ticks must be a whole number of ticks, got 30.0",
        "neuro.units.ticks(seconds, dt)",
    ),
    "check(Graph)": (call(lava_export.check, GRAPH), TypeError, "got a Graph", "lower(graph"),
    "list_breaches(2)": (
        call(lava_export.list_breaches, PROGRAM, 2),
        TypeError,
        "a chip must be a Chip or its name, got 2",
        '"loihi1"',
    ),
    "make_scaling_table(swapped)": (
        call(lava_export.make_scaling_table, PROGRAM, GRAPH),
        TypeError,
        "got a LoihiProgram",
        "trace(net, ",
    ),
    "make_scaling_table(twice)": (
        call(lava_export.make_scaling_table, GRAPH, GRAPH),
        TypeError,
        "got a Graph",
        "lower(graph",
    ),
    "compare(program)": (
        call(lava_export.compare, RECORD, PROGRAM),
        TypeError,
        "lava must be a Record, got a LoihiProgram",
        "simulate returns (record, state)",
    ),
    "compare(others)": (
        call(lava_export.compare, RECORD, replace(RECORD, spikes={})),
        ValueError,
        "records of input, out and of  cannot be compared",
        "one program on both",
    ),
    "to_float(other)": (
        call(lava_export.to_float, PROGRAM, "readout", np.zeros(1, np.int64)),
        ValueError,
        "no population 'readout'",
        "there are input, out",
    ),
    "concatenate(pairs)": (
        call(concatenate, [(RECORD, STATE)]),
        TypeError,
        "record 0 must be a Record, got a tuple",
        "simulate returns (record, state)",
    ),
    "concatenate()": (call(concatenate, []), ValueError, "no records", "one at least"),
    "Record(raster)": (
        call(replace, RECORD, spikes={"input": RASTER}, values={"out": X}),
        TypeError,
        "spikes of input must be Events, got a NumPy array",
        "values of out must be a NumPy array, got a Tensor",
    ),
    "to_raster(Record)": (
        call(to_raster, RECORD),
        TypeError,
        "events must be Events, got a Record",
        'record.spikes["hidden"]',
    ),
    "to_times('1ms')": (
        call(to_times, STIMULUS["input"], "1ms"),
        TypeError,
        "dt must be a number of seconds, got '1ms'",
        "1 ms is 1e-3",
    ),
    "to_ticks(Events)": (
        call(to_ticks, STIMULUS["input"], DT),
        TypeError,
        "times must be Times, got an Events",
        "record.times",
    ),
    "to_times(spikes)": (
        call(to_times, RECORD.spikes, DT),
        TypeError,
        "events must be Events",
        'record.spikes["hidden"]',
    ),
    "ticks('5ms')": (
        call(ticks, "5ms", DT),
        TypeError,
        "duration must be a number of seconds, got '5ms'",
        "1 ms is 1e-3",
    ),
    "ticks(dt='1ms')": (call(ticks, 0.005, "1ms"), TypeError, "dt must be", "1 ms is 1e-3"),
    "rate(ticks=8.5)": (
        call(rate, X[0], 8.5),
        TypeError,
        "ticks must be a whole number of ticks, got 8.5",
        "neuro.units.ticks(seconds, dt)",
    ),
    "simulate(record=names)": (
        call(simulate, GRAPH, STIMULUS, record=("out",)),
        TypeError,
        "record must be a Recording, got a tuple",
        'Recording(spikes=("hidden",))',
    ),
    "simulate(record=Recording)": (
        call(simulate, GRAPH, STIMULUS, Exact(), record=Recording),
        TypeError,
        "got the class Recording",
        'Recording(spikes=("hidden",))',
    ),
    "simulate(workers=2.)": (
        call(simulate, GRAPH, STIMULUS, workers=2.0),
        TypeError,
        "workers must be a whole number, got 2.0",
        "2 splits the samples",
    ),
    "replay(np.float32)": (
        call(replay, GRAPH, STIMULUS, np.float32),
        TypeError,
        "dtype must be a precision of torch, got the class float32",
        "torch.float32",
    ),
    "Net(other inputs)": (
        call(Net(GRAPH), {"x": X}),
        ValueError,
        "inputs are ['x'], the graph has ['input']",
        "by these names",
    ),
    "save_graph(swapped)": (
        call(save_graph, GRAPH, "net.npz"),
        TypeError,
        "graph must be a Graph, got 'net.npz'",
        "trace(net, ",
    ),
    "save_record(pair)": (
        call(save_record, "record.npz", (RECORD, STATE)),
        TypeError,
        "record must be a Record, got a tuple",
        "simulate returns (record, state)",
    ),
    "save_program(Graph)": (
        call(lava_export.save_program, "program.npz", GRAPH),
        TypeError,
        "program must be a LoihiProgram, got a Graph",
        "lower(graph",
    ),
    "find_chip(Chip)": (
        call(find_chip, find_chip("loihi1")),
        TypeError,
        "a chip must be a name or a file, got a Chip",
        '"loihi1"',
    ),
    "estimate(run_time='1ms')": (
        call(estimate, GRAPH, RECORD, "loihi1", run_time="1ms"),
        TypeError,
        "run_time must be a number of seconds, got '1ms'",
        "1 ms is 1e-3",
    ),
    "count(swapped)": (call(count, RECORD, GRAPH), TypeError, "got a Record", "trace(net, "),
    "count(pair)": (
        call(count, GRAPH, (RECORD, STATE)),
        TypeError,
        "record must be a Record, got a tuple",
        "simulate returns (record, state)",
    ),
    "estimate_chips(name)": (
        call(estimate_chips, GRAPH, RECORD, "loihi1"),
        TypeError,
        "chips must be several chips, or their names, got 'loihi1'",
        '["loihi1"]',
    ),
    "lower(net)": (call(lower, net()), TypeError, "got a Stack", "trace(net, input_shape)"),
    "lower(Net)": (call(lower, Net(GRAPH)), TypeError, "got a Net", "net.graph() of a Net"),
    "Net(net)": (call(Net, net()), TypeError, "got a Stack", "trace(net, input_shape)"),
    "trace(LIF)": (call(trace, LIF(tau=0.02)), TypeError, "got a LIF", "Spiking(model)"),
    "trace(net)": (call(trace, net()), ValueError, "needs input_shape", "e.g. (1, 28, 28)"),
    "Exact": (call(simulate, GRAPH, STIMULUS, Exact), TypeError, "the class Exact", "Exact()"),
    "Grid": (call(simulate, GRAPH, STIMULUS, Grid), TypeError, "the class Grid", "Grid()"),
    "'exact'": (call(simulate, GRAPH, STIMULUS, "exact"), TypeError, "got 'exact'", "Exact()"),
    "Recording(name)": (
        lambda: simulate(GRAPH, STIMULUS, record=Recording(spikes="out")),  # type: ignore[arg-type]
        TypeError,
        "got 'out'",
        "spikes=('out',)",
    ),
    "estimate(pair)": (
        call(estimate, GRAPH, (RECORD, STATE), "loihi1"),
        TypeError,
        "record must be a Record, got a tuple",
        "simulate returns (record, state)",
    ),
    "estimate(net)": (call(estimate, net(), RECORD, "loihi1"), TypeError, "a Stack", "trace("),
    "estimate(typo)": (
        call(estimate, GRAPH, RECORD, "loihi"),
        ValueError,
        "no chip 'loihi'",
        "there are loihi1,",
    ),
    "estimate(None)": (call(estimate, GRAPH, RECORD, None), TypeError, "got None", '"loihi1"'),
    # Neurons.
    "LIF()": (call(LIF), TypeError, "LIF needs tau", "LIF(tau=...)"),
    "LIF(0.02)": (call(LIF, 0.02), TypeError, "by name, got 0.02", "LIF(tau=...)"),
    "LIF(tau='20ms')": (call(LIF, tau="20ms"), TypeError, "got '20ms'", "20 ms is 0.02"),
    "LIF(beta=.9)": (
        call(LIF, beta=0.9),
        TypeError,
        "LIF has no parameter beta, got beta=0.9",
        "tau = -dt / math.log(beta) [s]",
    ),
    "LI(beta=.9)": (
        call(LI, beta=0.9),
        TypeError,
        "beta=0.9",
        "tau = -dt / math.log(beta) [s]",
    ),
    "LIF(leak=.1)": (
        call(LIF, leak=0.1),
        TypeError,
        "leak=0.1",
        "tau = -dt / math.log1p(-leak) [s]",
    ),
    "ALIF(tau=.02)": (call(ALIF, tau=0.02), TypeError, "tau=0.02", "ALIF.with_tau(tau, dt)"),
    "IF(v_threshold=1)": (call(IF, v_threshold=1), TypeError, "v_threshold=1", "threshold"),
    "IF(2.0)": (call(IF, 2.0), TypeError, "by name, got 2.0", "IF(threshold=...)"),
    "LIF(treshold=1)": (
        call(LIF, tau=0.02, treshold=1),
        TypeError,
        "no parameter treshold",
        "did you mean threshold?",
    ),
    "LI(reset='hard')": (
        call(LI, tau=0.02, reset="hard"),
        TypeError,
        "reset='hard'",
        "it has tau, gain",
    ),
    "LIF(reset='zero')": (
        call(LIF, tau=0.02, reset="zero"),
        ValueError,
        "got 'zero'",
        "hard sets the membrane to 0",
    ),
    "LIF(threshold=True)": (
        call(LIF, tau=0.02, threshold=True),
        TypeError,
        "LIF.threshold must be a number, got True",
        "give a float",
    ),
    "ALIF(refractory=True)": (call(ALIF, refractory=True), TypeError, "got True", "a number"),
    "LIF(threshold=mask)": (
        call(LIF, tau=0.02, threshold=np.array([True, False])),
        TypeError,
        "LIF.threshold must be numbers, got a NumPy array of shape (2,), bool",
        "True and False are none",
    ),
    "LIF(threshold=complex)": (
        call(LIF, tau=0.02, threshold=np.ones(2) * 1j),
        TypeError,
        "LIF.threshold must be real numbers, got a NumPy array of shape (2,), complex128",
        "array or tensor of floats",
    ),
    "LI(gain=None)": (call(LI, tau=0.02, gain=None), TypeError, "LI.gain", "got None"),
    "LIF(tau=ragged)": (call(LIF, tau=[[1], [1, 2]]), TypeError, "got a list", "array"),
    "LIF(surrogate='arctan')": (
        call(LIF, tau=0.02, surrogate="arctan"),
        TypeError,
        "LIF.surrogate must be a function of v - threshold, got 'arctan'",
        "neuro.neurons.surrogate.triangle",
    ),
    "ALIF(surrogate=1)": (call(ALIF, surrogate=1), TypeError, "ALIF.surrogate", "triangle"),
    "LIF(two periods)": (
        call(LIF, tau=0.02, refractory=np.array([0.001, 0.002])),
        TypeError,
        "LIF.refractory must be one number, got a NumPy array of shape (2,)",
        "another population",
    ),
    "LIF(trained tau)": (
        call(LIF, tau=torch.tensor(0.02, requires_grad=True)),
        ValueError,
        "LIF.tau passes no gradient",
        "tensor.detach()",
    ),
    "ALIF(tiny threshold)": (
        call(ALIF, threshold=1e-50),
        ValueError,
        "ALIF.threshold must be > 0, got 0.0",
        "scale the weights",
    ),
    "ALIF.with_tau(0)": (
        call(ALIF.with_tau, 0.0, DT),
        ValueError,
        "ALIF.with_tau: tau must be > 0 s and finite, got 0.0",
        "",
    ),
    "ALIF.with_tau('20ms')": (
        call(ALIF.with_tau, "20ms", DT),
        TypeError,
        "ALIF.with_tau: tau must be a number of seconds, got '20ms'",
        "1 ms is 1e-3",
    ),
    "psc_gain('20ms')": (
        call(psc_gain, "20ms", 0.02, DT),
        TypeError,
        "psc_gain: tau_syn",
        "ms",
    ),
    "LI(gain='1')": (call(LI, tau=0.02, gain="1"), TypeError, "a number, got '1'", "a float"),
    "fixed_indegree(1.5)": (
        call(fixed_indegree, 3, 3, 1.5, 1.0, np.random.default_rng(0)),
        TypeError,
        "indegree must be a whole number, got 1.5",
        "number of inputs",
    ),
    "fixed_probability(3.5)": (
        call(fixed_probability, 3, 3.5, 0.5, 1.0, np.random.default_rng(0)),
        TypeError,
        "outputs must be a whole number, got 3.5",
        "neurons",
    ),
    "from_coo(2-D)": (
        call(Sparse.from_coo, [[0]], [[0]], [[1.0]], shape=(1, 1)),
        ValueError,
        "one entry a synapse in every column, got shapes {'source': (1, 1)",
        "",
    ),
    "from_coo(shape=1)": (
        call(Sparse.from_coo, [0], [0], [1.0], shape=1),
        ValueError,
        "shape must be (out, in), got (1,)",
        "",
    ),
    "Dense(0 outputs)": (
        call(graph, nodes={**GRAPH.nodes, "fc": Dense(weight=np.ones((0, 3)))}),
        GraphError,
        "fc: its output must be >= 1, got (0,)",
        "",
    ),
    "run_population(state of one sample)": (
        call(run_population, LIF(tau=0.02), X, DT, LIFState(v=X[0, :1], i=None)),
        ValueError,
        "the state is of shape (1, 3), a tick of x of (2, 3)",
        "state=None",
    ),
    "BatchNorm1d(4)": (
        call(Stack(norm=nn.BatchNorm1d(4), cells=CELLS), X),
        LayerError,
        "norm: takes (ticks, samples, 4, ...), got (4, 2, 3)",
        "change it",
    ),
    "ALIF.with_tau(dt=-1)": (call(ALIF.with_tau, 0.02, -1), ValueError, "dt must", "got -1"),
    # Layers.
    "Spiking(LIF)": (call(Spiking, LIF), TypeError, "got the class LIF", "LIF(tau=0.02)"),
    "Spiking(ReLU())": (
        call(Spiking, nn.ReLU()),
        TypeError,
        "Spiking.model must be a neuron, got a ReLU",
        "Stack(layer, Spiking(LIF(tau=0.02)))",
    ),
    "Spiking(nn.Linear)": (
        call(Spiking, nn.Linear),
        TypeError,
        "got the class Linear",
        "a layer of torch stands before it: Stack(layer, ",
    ),
    "Spiking(dt=True)": (call(Spiking, LIF(tau=0.02), True), TypeError, "True", "1 ms is 1e-3"),
    "Delay(True)": (call(Delay, True), TypeError, "a whole number of ticks, got True", "units"),
    "Spiking(dt='1ms')": (
        call(Spiking, LIF(tau=0.02), dt="1ms"),
        TypeError,
        "Spiking.dt must be a number of seconds, got '1ms'",
        "1 ms is 1e-3",
    ),
    "Spiking(dt=0)": (call(Spiking, LIF(tau=0.02), dt=0), ValueError, "got 0", "1e-3 is usual"),
    "Stack(LIF())": (
        call(Stack, nn.Linear(3, 2), LIF(tau=0.02)),
        TypeError,
        "1 of a Stack must be a torch module, got a LIF",
        "Spiking(LIF(tau=0.02))",
    ),
    "Stack([...])": (
        call(Stack, [nn.Linear(3, 2), CELLS]),
        TypeError,
        "0 of a Stack must be a torch module, got a list",
        "Stack(*modules)",
    ),
    "Recurrent(LIF())": (
        call(Recurrent, LIF(tau=0.02), nn.Linear(2, 2)),
        TypeError,
        "got a LIF",
        "Spiking(LIF(tau=0.02))",
    ),
    "Residual(LIF())": (
        call(Residual, LIF(tau=0.02)),
        TypeError,
        "got a LIF",
        "Spiking(LIF(tau=0.02))",
    ),
    "Checkpointed(LIF())": (
        call(Checkpointed, LIF(tau=0.02), 4),
        TypeError,
        "got a LIF",
        "Spiking(LIF(tau=0.02))",
    ),
    "Delay(seconds)": (
        call(Delay, 0.005),
        TypeError,
        "Delay.ticks must be a whole number of ticks, got 0.005",
        "neuro.units.ticks(seconds, dt)",
    ),
    "Recurrent(delay=0)": (
        call(Recurrent, CELLS, nn.Linear(3, 3), 0),
        ValueError,
        "Recurrent.delay must be >= 1, got 0",
        "the next tick",
    ),
    # What goes into a net.
    "net(NumPy)": (
        call(net(), RASTER),
        TypeError,
        "x of Stack must be a tensor, got a NumPy array",
        "torch.from_numpy(array).float()",
    ),
    "net(Events)": (call(net(), STIMULUS["input"]), TypeError, "an Events", "neuro.to_raster("),
    "net(float64)": (
        call(net(), X.double()),
        LayerError,
        "fc: its weights are torch.float32, x is torch.float64",
        "x.to(torch.float32), or net.double()",
    ),
    "net(bool)": (call(net(), X.bool()), LayerError, "fc: ", "x.to(torch.float32)"),
    "cells(bool)": (
        call(CELLS, X.bool()),
        LayerError,
        "Spiking: x must hold floating-point numbers, got torch.bool",
        "x.float()",
    ),
    "cells(int)": (call(CELLS, X.long()), LayerError, "got torch.int64", "x.float()"),
    "cells(N)": (call(CELLS, X[0, 0]), LayerError, "got shape (3,)", "(ticks, samples, ...)"),
    "net(T N)": (
        call(net(), X[:, 0]),
        LayerError,
        "fc: takes (ticks, samples, ..., 3), got (4, 3)",
        "of one sample give x[:, None]",
    ),
    "net(T B 5)": (
        call(net(), torch.ones(4, 2, 5)),
        LayerError,
        "fc: takes (ticks, samples, ..., 3), got (4, 2, 5)",
        "change it, or what comes before it",
    ),
    "net(T C H W)": (
        call(Stack(conv=nn.Conv2d(1, 2, 3), cells=CELLS), torch.ones(4, 1, 5, 5)),
        LayerError,
        "conv: takes (ticks, samples, 1, H, W), got (4, 1, 5, 5)",
        "of one sample give x[:, None]",
    ),
    "Recurrent(T B 4)": (
        call(Recurrent(CELLS, nn.Linear(3, 3)), torch.ones(4, 2, 4)),
        LayerError,
        "Linear: takes (ticks, samples, ..., 3), got (4, 2, 4)",
        "change it",
    ),
    "Net(T N)": (
        call(Net(GRAPH), {"input": X[:, 0]}),
        LayerError,
        "input takes (ticks, samples, 3), got (4, 3)",
        "of one sample give x[:, None]",
    ),
    "Net(T B 4)": (
        call(Net(GRAPH), {"input": torch.ones(4, 2, 4)}),
        LayerError,
        "input takes (ticks, samples, 3), got (4, 2, 4)",
        "see Input.shape",
    ),
    "net(T = 0)": (call(net(), X[:0]), LayerError, "(0, 2, 3)", "at least one tick"),
    "cells(T = 0)": (call(CELLS, X[:0]), LayerError, "(0, 2, 3)", "at least one tick"),
    "Recurrent(T = 0)": (
        call(Recurrent(CELLS, nn.Linear(3, 3)), X[:0]),
        LayerError,
        "Recurrent: x has axes",
        "at least one tick",
    ),
    "Checkpointed(T = 0)": (
        call(Checkpointed(net(), Ticks(2)), X[:0]),
        LayerError,
        "(0, 2, 3)",
        "at least one tick",
    ),
    "Net(T = 0)": (call(Net(GRAPH), {"input": X[:0]}), LayerError, "(0, 2, 3)", "one tick"),
    "Net(int)": (
        call(Net(GRAPH), {"input": X.long()}),
        LayerError,
        "Net: x must hold floating-point numbers, got torch.int64",
        "x.float()",
    ),
    "Net(NumPy)": (
        call(Net(GRAPH), {"input": RASTER}),
        TypeError,
        "a NumPy array",
        "torch.from_numpy(array).float()",
    ),
    "Net(tensor)": (call(Net(GRAPH), X), TypeError, "a Tensor of shape", "{'input': x}"),
    "cells(NaN)": (
        call(CELLS, X * math.nan),
        NotANumber,
        "Spiking: its membrane is NaN",
        "data",
    ),
    # Graphs.
    "Graph(trained)": (
        call(
            graph,
            nodes={
                **GRAPH.nodes,
                "out": LIF(tau=0.02, threshold=torch.ones(2, requires_grad=True)),
            },
        ),
        GraphError,
        "out.threshold: is a tensor that is trained, and a Graph never changes",
        "tensor.detach()",
    ),
    "Graph(dt=True)": (call(graph, dt=True), TypeError, "got True", "1 ms is 1e-3"),
    "Edge(delay=True)": (
        call(graph, edges=(Edge("input", "fc"), Edge("fc", "out", True))),
        GraphError,
        "delay True is not a whole number of ticks",
        "neuro.units.ticks",
    ),
    "node 1": (
        call(graph, nodes={**GRAPH.nodes, 1: LIF(tau=0.02)}),
        TypeError,
        "the name of a node must be a word, got 1",
        '"cells"',
    ),
    "edge of numbers": (call(graph, edges=((0, 1),)), TypeError, "got a tuple", 'Edge("input"'),
    "Dense(complex)": (
        call(Dense, weight=np.ones((2, 3)) * 1j),
        TypeError,
        "Dense.weight must be real numbers, got a NumPy array of shape (2, 3), complex128",
        "floats",
    ),
    "Dense(complex bias)": (
        call(Dense, weight=np.ones((2, 3)), bias=torch.ones(2) * 1j),
        TypeError,
        "Dense.bias must be real numbers",
        "floats",
    ),
    "Conv2d(words)": (
        call(Conv2d, weight=np.full((1, 1, 1, 1), "1")),
        TypeError,
        "Conv2d.weight must be real numbers",
        "floats",
    ),
    "Dense(None)": (call(Dense, weight=None), TypeError, "Dense.weight", "got None"),
    "Dense(2^24 + 1)": (
        call(Dense, weight=np.array([[1, 2**24 + 1]])),
        ValueError,
        "Dense.weight: 16777217 is no float32",
        "give float64",
    ),
    "Dense(in, out)": (
        call(graph, nodes={**GRAPH.nodes, "fc": Dense(weight=np.ones((3, 2)))}),
        GraphError,
        "fc: Dense takes (2,), got (3,); its weight is (out, in)",
        "give weight.T",
    ),
    "Conv2d(in, out)": (
        call(
            graph,
            nodes={
                **GRAPH.nodes,
                "input": Input(shape=(3, 5, 5)),
                "fc": Conv2d(weight=np.ones((3, 2, 1, 1))),
            },
        ),
        GraphError,
        "Conv2d takes (2, H, W), got (3, 5, 5); its weight is (C_out, C_in, kH, kW)",
        "weight.swapaxes(0, 1)",
    ),
    "Sparse(indices=0.5)": (
        call(
            Sparse,
            indptr=[0, 1],
            indices=np.array([0.5]),
            weight=np.ones(1),
            shape=(1,),
        ),
        ValueError,
        "Sparse.indices: 0.5 is no int32",
        "whole numbers",
    ),
    "Sparse(delay=NaN)": (
        call(
            Sparse.from_coo,
            np.zeros(1),
            np.zeros(1, int),
            np.ones(1),
            shape=(1, 1),
            delay=np.array([math.nan]),
        ),
        ValueError,
        "Sparse.from_coo: delay: nan is no int32",
        "whole numbers",
    ),
    "Sparse(2^31)": (
        call(Sparse, indptr=[0, 1], indices=[2**31], weight=[1.0], shape=1),
        ValueError,
        "Sparse.indices: 2147483648 is no int32",
        "of its range",
    ),
    "Sparse(shape=2.5)": (
        call(Sparse, indptr=[0, 0], indices=[], weight=[], shape=2.5),
        TypeError,
        "Sparse.shape must be whole numbers, one an axis, got 2.5",
        "(1, 28, 28)",
    ),
    "Unflatten(2.5)": (
        call(Unflatten, shape=(2.5, 2)),
        TypeError,
        "Unflatten.shape must be whole numbers",
        "(1, 28, 28)",
    ),
    "Conv1d(stride=2.0)": (
        call(Conv1d, weight=np.ones((1, 1, 2)), stride=2.0),
        TypeError,
        "Conv1d.stride must be a whole number, got 2.0",
        "1 is usual",
    ),
    "Conv2d(groups=True)": (
        call(Conv2d, weight=np.ones((1, 1, 2, 2)), groups=True),
        TypeError,
        "Conv2d.groups",
        "got True",
    ),
    "Conv2d(stride=True)": (
        call(Conv2d, weight=np.ones((1, 1, 2, 2)), stride=True),
        TypeError,
        "Conv2d.stride must be a whole number, or two",
        "got True",
    ),
    "Input(shape=True)": (call(Input, shape=(True, 2)), TypeError, "Input.shape", "a tuple"),
    "Softmax(axis=0.5)": (call(Softmax, axis=0.5), TypeError, "got 0.5", "0 is the first"),
    "Outer(first=1.5)": (call(Outer, first=1.5), TypeError, "got 1.5", "one factor"),
    "Graph(dt='1 ms')": (call(graph, dt="1 ms"), TypeError, "got '1 ms'", "1 ms is 1e-3"),
    "node nn.Linear": (
        call(graph, nodes={**GRAPH.nodes, "fc": nn.Linear(3, 2)}),
        TypeError,
        "node 'fc' must be a node of neuro.graph or a neuron, got a Linear",
        "trace(net, input_shape) makes a Graph",
    ),
    "node LIF": (
        call(graph, nodes={**GRAPH.nodes, "out": LIF}),
        TypeError,
        "got the class LIF",
        "LIF(tau=0.02)",
    ),
    "nodes a list": (call(graph, nodes=[Input(shape=(3,))]), TypeError, "a list", '{"input": '),
    "edge a word": (
        call(graph, edges=("input -> fc",)),
        TypeError,
        "got 'input -> fc'",
        'Edge("input", "fc")',
    ),
    "one Edge": (
        call(graph, edges=Edge("input", "fc")),
        TypeError,
        "edges must be a tuple of Edges, got an Edge",
        '(Edge("input", "fc"), ',
    ),
    "Input(shape=2.5)": (call(Input, shape=2.5), TypeError, "got 2.5", "(1, 28, 28)"),
    "Conv2d(stride='2')": (
        call(Conv2d, weight=np.ones((1, 1, 2, 2)), stride="2"),
        TypeError,
        "Conv2d.stride must be a whole number, or two: (height, width), got '2'",
        "(1, 1)",
    ),
    "AvgPool2d(three)": (
        call(AvgPool2d, kernel=(1, 2, 2), stride=2),
        TypeError,
        "AvgPool2d.kernel",
        "(height, width)",
    ),
}


@pytest.fixture(autouse=True)
def types_are_checked_by_the_code_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As users run it: in tests beartype would be there first."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_told_with_what_was_given_and_the_cure(slip: str) -> None:
    write, error, given, cure = SLIPS[slip]
    with pytest.raises(error) as told:
        write()
    assert given in str(told.value)
    assert cure in str(told.value)


def test_all_that_is_wrong_is_told_together() -> None:
    with pytest.raises(TypeError) as told:
        LIF(beta=0.9, v_th=1.0, refractory="2 ms")  # type: ignore[call-arg, arg-type]
    assert len(str(told.value).splitlines()) == 3
    with pytest.raises(TypeError) as told:
        graph(nodes={"input": Input, "fc": nn.Linear(3, 2)}, edges=(1,), dt="1 ms")
    assert len(str(told.value).splitlines()) == 5


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int64, bool])
def test_zeros_and_ones_are_spikes_whatever_their_dtype(dtype: type) -> None:
    events = to_events(np.ones((1, 2, 3), dtype))
    assert events.value.tolist() == [1.0] * 6


@pytest.mark.parametrize("kind", ["tensor", "trained", "bfloat16", "T B H W", "5-D tensor"])
def test_what_is_plainly_a_raster_becomes_events(kind: str) -> None:
    raster = (np.arange(48).reshape(2, 2, 1, 3, 4) % 3).astype(np.float32)
    x = torch.from_numpy(raster).flatten(2)
    given: Any = {
        "tensor": x,
        "trained": x.clone().requires_grad_(),
        "bfloat16": x.bfloat16(),
        "T B H W": raster[:, :, 0],
        "5-D tensor": torch.from_numpy(raster),
    }[kind]
    events = to_events(given)
    assert events.shape == (2, 2, 12)
    assert np.array_equal(to_raster(events), raster.reshape(2, 2, 12))
    assert events.value.dtype == np.float32


def test_tuples_are_edges_and_numbers_are_sizes() -> None:
    edges: Any = (("input", "fc"), ["fc", "out", 1])
    with pytest.raises(TypeError, match="got a list"):
        graph(edges=edges)
    assert graph(edges=(edges[0], ("fc", "out", np.int64(1)))).edges == (
        Edge("input", "fc"),
        Edge("fc", "out", Ticks(1)),
    )
    for made in (
        Conv2d(weight=np.ones((1, 1, 2, 2)), stride=2, padding=2, dilation=2),  # type: ignore[arg-type]
        ConvTranspose2d(weight=np.ones((1, 1, 2, 2)), stride=2, padding=2, output_padding=2),  # type: ignore[arg-type]
        AvgPool2d(kernel=2, stride=2),  # type: ignore[arg-type]
        Upsample(scale=2),  # type: ignore[arg-type]
    ):
        sizes = {k: v for k, v in vars(made).items() if k not in ("weight", "bias", "groups")}
        assert set(sizes.values()) == {(2, 2)}
    assert Input(shape=3).shape == (3,)  # type: ignore[arg-type]
    assert trace(net(), 3).shapes["input"] == (3,)  # type: ignore[arg-type]
    weight = nn.Linear(3, 2).weight
    assert np.array_equal(Dense(weight=weight).weight, weight.detach().numpy())  # type: ignore[arg-type]


def test_a_chip_goes_by_its_name() -> None:
    want = estimate(GRAPH, RECORD, find_chip("loihi2"))
    assert estimate(GRAPH, RECORD, "loihi2").core == want.core


def test_snntorchs_beta_is_the_tau_that_the_message_gives() -> None:
    tau = -DT / math.log(0.9)
    assert LIF(tau=tau).coefficients(DT).decay == pytest.approx(0.9, rel=1e-15)
    leak = -math.expm1(-DT / tau)
    assert leak == pytest.approx(0.1, rel=1e-13)
    assert -DT / math.log1p(-leak) == pytest.approx(tau, rel=1e-13)
