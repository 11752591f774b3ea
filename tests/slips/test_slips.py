"""Code as a new user may write it by mistake: its error says what was wrong, and the cure."""

import math
import pickle
from importlib import import_module

import numpy as np
import pytest
import torch
from tables import read_table, require_answer

import lava_export

# The code, and below it its error with phrases of the message.
SLIPS = """
# Neurons and their parameters
LIF()
    TypeError: LIF needs tau | LIF(tau=...)
LIF(0.02)
    TypeError: by name, got 0.02 | LIF(tau=...)
LIF(tau="20ms")
    TypeError: got '20ms' | 20 ms is 0.02
LIF(beta=0.9)
    TypeError: LIF has no parameter beta, got beta=0.9 | tau = -dt / math.log(beta) [s]
LI(beta=0.9)
    TypeError: beta=0.9 | tau = -dt / math.log(beta) [s]
LIF(leak=0.1)
    TypeError: leak=0.1 | tau = -dt / math.log1p(-leak) [s]
ALIF(tau=0.02)
    TypeError: tau=0.02 | ALIF.with_tau(tau, dt)
IF(v_threshold=1)
    TypeError: v_threshold=1 | threshold
IF(2.0)
    TypeError: by name, got 2.0 | IF(threshold=...)
LIF(tau=0.02, treshold=1)
    TypeError: no parameter treshold | did you mean threshold?
LI(tau=0.02, reset="hard")
    TypeError: reset='hard' | it has tau, gain
LIF(tau=0.02, reset="zero")
    ValueError: got 'zero' | hard sets the membrane to 0
LIF(tau=0.02, threshold=True)
    TypeError: LIF.threshold must be a number, got True | give a float
ALIF(refractory=True)
    TypeError: got True | a number
LIF(tau=0.02, threshold=np.array([True, False]))
    TypeError: LIF.threshold must be numbers, got a NumPy array of shape (2,), bool | True and
LIF(tau=0.02, threshold=np.ones(2) * 1j)
    TypeError: LIF.threshold must be real numbers, got a NumPy array | complex128 | of floats
LI(tau=0.02, gain=None)
    TypeError: LI.gain | got None
LIF(tau=[[1], [1, 2]])
    TypeError: got a list | array
LIF(tau=0.02, surrogate="arctan")
    TypeError: LIF.surrogate must be a function of v - threshold | got 'arctan' | .triangle
ALIF(surrogate=1)
    TypeError: ALIF.surrogate | triangle
LIF(tau=0.02, refractory=np.array([0.001, 0.002]))
    TypeError: LIF.refractory must be one number, got a NumPy array | another population
LIF(tau=torch.tensor(0.02, requires_grad=True))
    ValueError: LIF.tau passes no gradient | tensor.detach()
ALIF(threshold=1e-50)
    ValueError: ALIF.threshold must be > 0 and finite, got 0.0 | scale the weights
LIF(tau=0.0)
    ValueError: LIF.tau must be > 0 s, got 0.0 | for no leak use tau=math.inf
LIF(tau=0.02, threshold=0.0)
    ValueError: LIF.threshold must be > 0 and finite, got 0.0 | scale the weights
LIF(tau=0.02, tau_syn=math.inf)
    ValueError: LIF.tau_syn must be > 0 s and finite, got inf | None: no current
LIF(tau=0.02, refractory=-1.0)
    ValueError: LIF.refractory must be >= 0 s and finite, got -1.0 | 0 switches it off
ALIF(leak=0.0)
    ValueError: ALIF.leak must be in (0, 1], got 0.0 | 0.5 is usual
ALIF(threshold=-1.0)
    ValueError: got -1.0 | where it was trained, lower the learning rate
ALIF(beta=-0.5)
    ValueError: ALIF.beta must be >= 0 and finite, got -0.5 | 0 switches the adap
ALIF(rho=1.5)
    ValueError: ALIF.rho must be in [0, 1], got 1.5 | 0.9 is usual
DiscreteLIF(beta=0.9)
    TypeError: DiscreteLIF has no parameter beta, got beta=0.9 | is the decay
DiscreteLIF(decay=0.9, v_reset=0.0)
    TypeError: v_reset=0.0 | sets the membrane to reset_to
DiscreteLIF(tau=0.02)
    TypeError: tau=0.02 | math.exp(-dt / tau)
DiscreteLIF(decay=1.5)
    ValueError: DiscreteLIF.decay must be in [0, 1], got 1.5
DiscreteLIF(decay=0.9, reset="hard", reset_by=0.5)
    ValueError: DiscreteLIF.reset_by has no effect with reset='hard' | reset_to
psc_gain("20ms", 0.02, DT)
    TypeError: psc_gain: tau_syn | ms
LI(tau=0.02, gain="1")
    TypeError: a number, got '1' | a float
run_population(LIF(tau=0.02), X, DT, LIFState(v=X[0, :1], i=None))
    ValueError: the state is of shape (1, 3), a tick of x of (2, 3) | state=None
ALIF.with_tau(0.0, DT)
    ValueError: ALIF.with_tau: tau must be > 0 s and finite, got 0.0
ALIF.with_tau("20ms", DT)
    TypeError: ALIF.with_tau: tau must be a number of seconds, got '20ms' | 1 ms is 1e-3
ALIF.with_tau(0.02, -1)
    ValueError: dt must | got -1
ALIF(tau_adapt=0.2)
    TypeError: rho = math.exp(-dt / tau_adapt), or ALIF.with_tau(..., tau_adapt=...)
ALIF.with_tau(0.02, DT, beta=0.1)
    ValueError: ALIF.with_tau: beta > 0 raises the threshold at a spike | tau_adapt=0.2 [s]
ALIF.with_tau(0.02, DT, beta=np.array([0.0, 0.1]))
    ValueError: beta > 0 raises the threshold at a spike | tau_adapt=0.2 [s]
ALIF.with_tau(0.02, DT, rho=0.9)
    TypeError: ALIF.with_tau computes rho from tau_adapt | give tau_adapt [s]
ALIF.with_tau(0.02, DT, leak=0.9)
    TypeError: computes leak | give tau [s]
ALIF.with_tau(0.02, DT, tau_adapt="200ms")
    TypeError: ALIF.with_tau: tau_adapt must be a number of seconds, got '200ms' | 1 ms is 1e-3
ALIF.with_tau(0.02, DT, bta=0.1)
    TypeError: no parameter bta | mean beta?
# Graphs, nodes and edges
save_graph(GRAPH, "net.safetensors")
    TypeError: graph must be a Graph, got 'net.safetensors' | trace(net,
fixed_indegree(3, 3, 1.5, 1.0, np.random.default_rng(0))
    TypeError: indegree must be a whole number, got 1.5 | number of inputs
fixed_probability(3, 4, 0.5, 1.0, 0)
    TypeError: rng must be a NumPy Generator, got 0 | np.random.default_rng(0)
statistics(RECORD.spikes["input"], 0.1, 0.2)
    TypeError: times must be Times, got an Events | record.times["hidden"]
fixed_probability(3, 3.5, 0.5, 1.0, np.random.default_rng(0))
    TypeError: outputs must be a whole number, got 3.5 | neurons
Sparse.from_coo([[0]], [[0]], [[1.0]], shape=(1, 1))
    ValueError: one entry a synapse in every column, got shapes {'source': (1, 1)
Sparse.from_coo([0], [0], [1.0], shape=1)
    ValueError: shape must be (out, in), got (1,)
change(fc=Dense(weight=np.ones((0, 3))))
    GraphError: fc: its output must be >= 1, got (0,)
change(out=LIF(tau=0.02, threshold=torch.ones(2, requires_grad=True)))
    GraphError: out.threshold: is a tensor that is trained | tensor.detach()
graph(dt=True)
    TypeError: got True | 1 ms is 1e-3
graph(edges=(Edge("input", "fc"), Edge("fc", "out", True)))
    GraphError: delay True is not a whole number of ticks | neuro.ticks
graph(nodes={**GRAPH.nodes, 1: LIF(tau=0.02)})
    TypeError: the name of a node must be a word, got 1 | "cells"
graph(edges=((0, 1),))
    TypeError: an end of an edge must be the name of a node, a word, got 0 | Edge("input"
Dense(weight=np.ones((2, 3)) * 1j)
    TypeError: Dense.weight must be real numbers | of shape (2, 3), complex128 | floats
Dense(weight=np.ones((2, 3)), bias=torch.ones(2) * 1j)
    TypeError: Dense.bias must be real numbers | floats
Conv2d(weight=np.full((1, 1, 1, 1), "1"))
    TypeError: Conv2d.weight must be real numbers | floats
Dense(weight=None)
    TypeError: Dense.weight | got None
Dense(weight=np.array([[1, 2**24 + 1]]))
    ValueError: Dense.weight: 16777217 is no float32 | give float64
change(fc=Dense(weight=np.ones((3, 2))))
    GraphError: fc: Dense takes (2,), got (3,); its weight is (out, in) | give weight.T
change(input=Input(shape=(3, 5, 5)), fc=Conv2d(weight=np.ones((3, 2, 1, 1))))
    GraphError: Conv2d takes (2, H, W), got (3, 5, 5) | (C_out, C_in, kH, kW) | swapaxes(0, 1)
Sparse(indptr=[0, 1], indices=np.array([0.5]), weight=np.ones(1), shape=(1,))
    ValueError: Sparse.indices: 0.5 is no int32 | whole numbers
Sparse.from_coo([0.0], [0], [1.0], shape=(1, 1), delay=np.array([math.nan]))
    ValueError: Sparse.from_coo: delay: nan is no int32 | whole numbers
Sparse(indptr=[0, 1], indices=[2**31], weight=[1.0], shape=1)
    ValueError: Sparse.indices: 2147483648 is no int32 | of its range
Sparse(indptr=[0, 0], indices=[], weight=[], shape=2.5)
    TypeError: Sparse.shape must be whole numbers, one an axis, got 2.5 | (1, 28, 28)
Unflatten(shape=(2.5, 2))
    TypeError: Unflatten.shape must be whole numbers | (1, 28, 28)
Conv1d(weight=np.ones((1, 1, 2)), stride=2.0)
    TypeError: Conv1d.stride must be a whole number, got 2.0 | 1 is usual
Conv2d(weight=np.ones((1, 1, 2, 2)), groups=True)
    TypeError: Conv2d.groups | got True
Conv2d(weight=np.ones((1, 1, 2, 2)), stride=True)
    TypeError: Conv2d.stride must be a whole number, or two | got True
Input(shape=(True, 2))
    TypeError: Input.shape | a tuple
Softmax(axis=0.5)
    TypeError: got 0.5 | 0 is the first
Outer(first=1.5)
    TypeError: got 1.5 | one factor
graph(dt="1 ms")
    TypeError: got '1 ms' | 1 ms is 1e-3
change(fc=nn.Linear(3, 2))
    TypeError: node 'fc' must be a node of neuro.graph or a neuron | trace(net, input_shape)
change(out=LIF)
    TypeError: got the class LIF | LIF(tau=0.02)
graph(nodes=[Input(shape=(3,))])
    TypeError: a list | {"input":
graph(edges=("input -> fc",))
    TypeError: got 'input -> fc' | Edge("input", "fc")
graph(edges=Edge("input", "fc"))
    TypeError: edges must be a tuple of Edges, got an Edge | (Edge("input", "fc"),
Input(shape=2.5)
    TypeError: got 2.5 | (1, 28, 28)
Conv2d(weight=np.ones((1, 1, 2, 2)), stride="2")
    TypeError: Conv2d.stride must be a whole number, or two: (height, width), got '2' | (1, 1)
AvgPool2d(kernel=(1, 2, 2), stride=2)
    TypeError: AvgPool2d.kernel | (height, width)
graph(edges=(Edge(0, 1),))
    TypeError: an end of an edge must be the name of a node, a word, got 1 | Edge("input", "fc")
change(out=ALIF.with_tau(Seconds(0.02), Seconds(5e-4)))
    GraphError: out: dt of the graph is 0.001 s | for ticks of 0.0005 | use one dt for both
load_graph("none.safetensors")
    StoreError: none.safetensors: no such file;  | neuro.io.graph_file.save_graph writes one
# Layers, nets and what goes into them
Net(GRAPH)({"x": X})
    ValueError: inputs are ['x'], the graph has ['input'] | by these names
Net(net())
    TypeError: got a Stack | trace(net, input_shape)
trace(LIF(tau=0.02))
    TypeError: got a LIF | Spiking(model)
trace(net())
    ValueError: needs input_shape | e.g. (1, 28, 28)
trace(net(), ())
    ValueError: got () | use (1,)
trace(QUANTISED, (3,))
    TraceError: fc: a quantised Linear has no node | trace the network before
QUANTISED(X.double())
    LayerError: fc: is quantised and takes torch.float32 | x.to(torch.float32)
QUANTISED(torch.ones(4, 2, 4))
    LayerError: fc: takes (ticks, samples, ..., 3), got (4, 2, 4) | change it
Stack(rows=nn.Embedding(5, 3), cells=CELLS)(torch.ones(4, 2))
    LayerError: rows: takes indices of rows, torch.int64, x is torch.float32 | x.long()
trace(Stack(nn.Linear(3, 4), nn.Dropout(), nn.BatchNorm1d(4), CELLS), (3,))
    TraceError: 2: BatchNorm can only be folded | a Dropout or AvgPool2d behind both
trace(Stack(nn.Sequential(nn.Linear(3, 4)), nn.BatchNorm1d(4), CELLS), (3,))
    TraceError: 1: BatchNorm can only be folded | the layers of a Sequential into
Stack(norm=nn.BatchNorm1d(4), cells=CELLS)(X)
    LayerError: norm: takes (ticks, samples, 4, ...), got (4, 2, 3) | change it
Spiking(LIF)
    TypeError: got the class LIF | LIF(tau=0.02)
Spiking(nn.ReLU())
    TypeError: Spiking.model must be a neuron, got a ReLU | Stack(layer, Spiking(LIF(tau=0.02)))
Spiking(nn.Linear)
    TypeError: got the class Linear | put a torch layer before it: Stack(layer,
Spiking(LIF(tau=0.02), True)
    TypeError: True | 1 ms is 1e-3
Delay(True)
    TypeError: a whole number of ticks, got True | neuro.ticks
Spiking(LIF(tau=0.02), dt="1ms")
    TypeError: Spiking.dt must be a number of seconds, got '1ms' | 1 ms is 1e-3
Spiking(LIF(tau=0.02), dt=0)
    ValueError: got 0 | 1e-3 is usual
Stack(nn.Linear(3, 2), LIF(tau=0.02))
    TypeError: 1 of a Stack must be a torch module, got a LIF | Spiking(LIF(tau=0.02))
Stack([nn.Linear(3, 2), CELLS])
    TypeError: 0 of a Stack must be a torch module, got a list | Stack(*modules)
Stack(fc=nn.Linear(3, 2), rec=nn.LSTM(2, 2))
    ValueError: rec of a Stack: LSTM keeps a state, which a Stack | Recurrent(Spiking(
Residual(nn.Sequential(nn.Linear(3, 3), nn.GRU(3, 3)))
    ValueError: 1 of Residual.body: GRU keeps a state | Temporal, with forward(x, state)
Recurrent(CELLS, nn.GRUCell(3, 3))
    ValueError: Recurrent.feedback: GRUCell keeps a state | neuro.nn.Temporal
Stack(nn.MultiheadAttention(4, 2))
    ValueError: 0 of a Stack: MultiheadAttention takes query, key, value | forward(self, x)
Stack(nn.TransformerEncoderLayer(4, 2))
    ValueError: TransformerEncoderLayer attends along axis 0 | batch_first=True
Stack(nn.ModuleList([nn.Linear(3, 2)]))
    ValueError: 0 of a Stack: ModuleList has no forward | Stack(*modules)
Stack(nn.AdaptiveMaxPool1d(1, return_indices=True))(X)
    LayerError: 0: mapped (8, 3), with ticks and samples as one axis, to a tuple | axis 0
Stack(flat=nn.Flatten(0))(X)
    LayerError: flat: mapped (8, 3) | a tensor of shape (24,) | one tensor with the same axis
Recurrent(LIF(tau=0.02), nn.Linear(2, 2))
    TypeError: got a LIF | Spiking(LIF(tau=0.02))
Residual(LIF(tau=0.02))
    TypeError: got a LIF | Spiking(LIF(tau=0.02))
Delay(0.005)
    TypeError: Delay.ticks must be a whole number of ticks, got 0.005 | neuro.ticks
Recurrent(CELLS, nn.Linear(3, 3), 0)
    ValueError: Recurrent.delay must be >= 1, got 0 | the next tick
net()(RASTER)
    TypeError: x of Stack must be a tensor, got a NumPy array | torch.from_numpy(array).float()
net()(STIMULUS["input"])
    TypeError: an Events | neuro.to_raster(
net()(X.double())
    LayerError: fc: its weights are torch.float32, x is torch.float64 | or net.double()
net()(X.bool())
    LayerError: fc:  | x.to(torch.float32)
CELLS(X.bool())
    LayerError: Spiking: x must hold floating-point numbers, got torch.bool | x.float()
CELLS(X.long())
    LayerError: got torch.int64 | x.float()
CELLS(X[0, 0])
    LayerError: got shape (3,) | (ticks, samples, ...)
net()(X[:, 0])
    LayerError: fc: takes (ticks, samples, ..., 3), got (4, 3) | for one sample use x[:, None]
net()(torch.ones(4, 2, 5))
    LayerError: fc: takes (ticks, samples, ..., 3), got (4, 2, 5) | change it
Stack(conv=nn.Conv2d(1, 2, 3), cells=CELLS)(torch.ones(4, 1, 5, 5))
    LayerError: conv: takes (ticks, samples, 1, H, W), got (4, 1, 5, 5) | use x[:, None]
Recurrent(CELLS, nn.Linear(3, 3))(torch.ones(4, 2, 4))
    LayerError: Linear: takes (ticks, samples, ..., 3), got (4, 2, 4) | change it
Net(GRAPH)({"input": X[:, 0]})
    LayerError: input takes (ticks, samples, 3), got (4, 3) | for one sample use x[:, None]
Net(GRAPH)({"input": torch.ones(4, 2, 4)})
    LayerError: input takes (ticks, samples, 3), got (4, 2, 4) | see Input.shape
net()(X[:0])
    LayerError: (0, 2, 3) | at least one tick
CELLS(X[:0])
    LayerError: (0, 2, 3) | at least one tick
Recurrent(CELLS, nn.Linear(3, 3))(X[:0])
    LayerError: Recurrent: x must have axes | at least one tick
Net(GRAPH)({"input": X[:0]})
    LayerError: (0, 2, 3) | one tick
Net(GRAPH)({"input": X.long()})
    LayerError: Net: x must hold floating-point numbers, got torch.int64 | x.float()
Net(GRAPH)({"input": RASTER})
    TypeError: a NumPy array | torch.from_numpy(array).float()
Net(GRAPH)(X)
    TypeError: a Tensor of shape | {'input': x}
CELLS(X * math.nan)
    NotANumber: Spiking: its membrane is NaN | data
Spiking(ALIF.with_tau(Seconds(0.02), Seconds(5e-4)))
    ValueError: Spiking.dt is 0.001 s | for ticks of 0.0005 s | use one dt for both
Stack(CELLS, Recurrent(Spiking(LIF(tau=0.02), HALF), nn.Linear(2, 2)))
    ValueError: the layers of a Stack have different dt: 0 has 0.001 s, 1.spiking has 0.0005
Residual(CELLS, Stack(out=Spiking(LIF(tau=0.02), HALF)))
    ValueError: Residual | body has 0.001 s, shortcut.out has 0.0005 | use one dt for all
Stack(train=nn.Linear(3, 2))
    ValueError: a module of a Stack cannot have the name 'train' | e.g. train_layer
Stack(**{"a.b": nn.Linear(3, 2)})
    ValueError: 'a.b', which holds a dot | a_b
Stack(CELLS, **{"0": CELLS})
    ValueError: 0 names two modules | rename one
trace(net(), X.shape)
    GraphError: (4, 2, 3) seems to be the shape of x, T B ... | tuple(x.shape[2:])
# Spike trains, rasters, codes and times
to_events([[[1]]])
    TypeError: got a list | np.array
to_events(np.ones((4, 3)))
    ValueError: (4, 3) | raster[:, None]
to_events(np.full((1, 1, 1), "a"))
    TypeError: got a NumPy array of shape (1, 1, 1), <U1 | an array or tensor of numbers
to_events(np.full((4, 2, 3), 255, np.uint8))
    ValueError: a raster of uint8 with values up to 255 may be an image | raster > 0 for spikes
rate(RASTER, 4)
    TypeError: a NumPy array | torch.from_numpy(x)
to_raster(RECORD)
    TypeError: events must be Events, got a Record | record.spikes["hidden"]
to_times(STIMULUS["input"], "1ms")
    TypeError: dt must be a number of seconds, got '1ms' | 1 ms is 1e-3
to_ticks(STIMULUS["input"], DT)
    TypeError: times must be Times, got an Events | record.times
to_times(RECORD.spikes, DT)
    TypeError: events must be Events | record.spikes["hidden"]
ticks("5ms", DT)
    TypeError: duration must be a number of seconds, got '5ms' | 1 ms is 1e-3
ticks(0.005, "1ms")
    TypeError: dt must be | 1 ms is 1e-3
rate(X[0], 8.5)
    TypeError: ticks must be a whole number of ticks, got 8.5 | neuro.ticks(seconds, dt)
to_events(np.full((1, 2, 3), np.nan))
    ValueError: a raster must be finite, got 6 values like nan (tick 0, sample 0, neuron 0)
to_events(torch.tensor([[[0.0, 1.0]], [[0.0, -math.inf]]]))
    ValueError: got 1 values like -inf (tick 1, sample 0, neuron 1)
ticks(0.001, 0.005)
    ValueError: duration 0.001 s is shorter than a step of dt = 0.005 s | ticks(duration, dt)
poisson(X[0], 3, 0)
    TypeError: generator must be a torch.Generator, got 0 | torch.Generator().manual_seed(0)
# Runs, clocks and records
simulate(GRAPH, {"input": RASTER})
    TypeError: input must be Events or Times | of shape (4, 2, 3), float32 | neuro.to_events(
simulate(GRAPH, {"input": X}, Exact())
    TypeError: got a Tensor of shape (4, 2, 3), torch.float32 | neuro.to_events(raster)
simulate(GRAPH, STIMULUS["input"])
    TypeError: got an Events | {"input": neuro.to_events(raster)}
simulate(net(), STIMULUS)
    TypeError: got a Stack | trace(net,
replay(GRAPH, {"input": X})
    TypeError: input must be Events or Times, got a Tensor | neuro.to_events(raster)
replay(GRAPH, {"input": to_times(STIMULUS["input"], DT)})
    ValueError: input: Times, and this executor runs in ticks | neuro.spikes.to_ticks(times, dt)
replay(net(), STIMULUS)
    TypeError: got a Stack | trace(net,
concatenate([(RECORD, STATE)])
    TypeError: record 0 must be a Record, got a tuple | simulate returns (record, state)
concatenate([])
    ValueError: no records | at least one
replace(RECORD, spikes={"input": RASTER}, values={"out": X})
    TypeError: spikes of input must be Events | values of out must be a NumPy array
simulate(GRAPH, STIMULUS, progress=True)
    TypeError: progress must be a function of the share that is done, got True | lambda share
simulate(GRAPH, STIMULUS, record=("out",))
    TypeError: record must be a Recording, got a tuple | Recording(spikes=("hidden",))
simulate(GRAPH, STIMULUS, Exact(), record=Recording)
    TypeError: got the class Recording | Recording(spikes=("hidden",))
simulate(GRAPH, STIMULUS, workers=2.0)
    TypeError: workers must be a whole number, got 2.0 | 2 splits the samples
replay(GRAPH, STIMULUS, np.float32)
    TypeError: dtype must be a precision of torch, got the class float32 | torch.float32
save_record("record.safetensors", (RECORD, STATE))
    TypeError: record must be a Record, got a tuple | simulate returns (record, state)
simulate(GRAPH, STIMULUS, Exact)
    TypeError: the class Exact | Exact()
simulate(GRAPH, STIMULUS, Grid)
    TypeError: the class Grid | Grid()
simulate(GRAPH, STIMULUS, "exact")
    TypeError: got 'exact' | Exact()
simulate(GRAPH, STIMULUS, record=Recording(spikes="out"))
    TypeError: got 'out' | spikes=('out',)
Exact(threads="2")
    TypeError: Exact.threads must be a whole number, got '2' | 1 is usual
Exact(window="a")
    TypeError: Exact.window must be a number of seconds, got 'a' | 1 ms is 1e-3
Grid(stretch=64.0)
    TypeError: Grid.stretch must be a whole number | 128
RECORD.spikes["hidden"]
    NoSuchNode: the record has no spikes of 'hidden', but of: input, out; | Recording selects
pickle.loads(pickle.dumps(RECORD)).values["out"]
    NoSuchNode: the record has no values of 'out', but of: none;  | spikes are in record.spikes
RECORD["out"]
    TypeError: a record has several entries for 'out' | record.spikes['out']
# Lowering, programs, counts and estimates
reference.run(lower(GRAPH, ticks=4), {"input": RASTER}, 4)
    TypeError: input must be Events or Times, got a NumPy array | neuro.to_events(raster)
reference.run(GRAPH, STIMULUS, 4)
    TypeError: program must be a LoihiProgram, got a Graph | lava_export.lower(graph, ticks=...)
reference.run(PROGRAM, STIMULUS, ticks=4.0)
    TypeError: ticks must be a whole number of ticks, got 4.0 | neuro.ticks(seconds, dt)
lava_export.run(GRAPH, STIMULUS, 4)
    TypeError: got a Graph | lava_export.lower(graph, ticks=...)
lower(GRAPH, ticks=30.0)
    TypeError: ticks must be a whole number of ticks, got 30.0 | neuro.ticks(seconds, dt)
lava_export.check(GRAPH)
    TypeError: got a Graph | lower(graph
lava_export.list_breaches(PROGRAM, 2)
    TypeError: a chip must be a Chip or its name, got 2 | "loihi1"
lava_export.compare(RECORD, PROGRAM)
    TypeError: lava must be a Record, got a LoihiProgram | simulate returns (record, state)
lava_export.compare(RECORD, replace(RECORD, spikes={}))
    ValueError: records of input, out and of  cannot be compared | one program on both
lava_export.to_float(PROGRAM, "readout", np.zeros(1, np.int64))
    ProgramError: no population 'readout' | there are input, out
lava_export.save_program("program.safetensors", GRAPH)
    TypeError: or a GradedProgram or a XyloProgram, got a Graph | lower_graph(graph
find_chip(find_chip("loihi1"))
    TypeError: a chip must be a name or a file, got a Chip | "loihi1"
estimate(GRAPH, RECORD, "loihi1", run_time="1ms")
    TypeError: run_time must be a number of seconds, got '1ms' | 1 ms is 1e-3
count(RECORD, GRAPH)
    TypeError: got a Record | trace(net,
count(GRAPH, (RECORD, STATE))
    TypeError: record must be a Record, got a tuple | simulate returns (record, state)
estimate_chips(GRAPH, RECORD, "loihi1")
    TypeError: chips must be several chips, or their names, got 'loihi1' | ["loihi1"]
lower(net())
    TypeError: got a Stack | trace(net, input_shape)
lower(Net(GRAPH))
    TypeError: got a Net | net.graph() of a Net
estimate(GRAPH, (RECORD, STATE), "loihi1")
    TypeError: record must be a Record, got a tuple | simulate returns (record, state)
estimate(net(), RECORD, "loihi1")
    TypeError: a Stack | trace(
estimate(GRAPH, RECORD, "loihi")
    ValueError: no chip 'loihi' | there are loihi1,
estimate(GRAPH, RECORD, None)
    TypeError: got None | "loihi1"
lava_export.make_scaling_table(PROGRAM, GRAPH)
    TypeError: got a LoihiProgram | trace(net,
lava_export.make_scaling_table(GRAPH, GRAPH)
    TypeError: got a Graph | lower(graph
"""
MODULES = """
neuro.spikes.codes neuro.energy neuro.events neuro.neurons neuro.nn neuro.nn.trace
neuro.spikes.record
neuro.graph.random neuro.io.graph_file neuro.io.record_file neuro.base.units lava_export neuro
written_slips dataclasses neuro.spikes.statistics
"""
NAMES = {k: x for name in MODULES.split() for k, x in vars(import_module(name)).items()}
NAMES |= {x.__name__: x for x in (lava_export, math, pickle, torch)}
NAMES |= {"nn": torch.nn, "np": np}


@pytest.mark.parametrize(("code", "answer"), read_table(SLIPS))
def test_a_slip_is_answered_with_what_was_wrong_and_the_cure(code: str, answer: str) -> None:
    require_answer(code, answer, NAMES)
