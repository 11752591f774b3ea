"""The equations of NIR, interpreted tick by tick in NumPy: the reference for NIR imports.

The interpreter computes in float64 with absolute voltages, one node after the other. It follows
NIR's definitions and shares no code with the Graph. Membranes start at
:func:`~neuro.interop.nir.steps.find_rest`, currents and delays at 0.
Axes: T ticks, B samples, ``*N`` the shape of a node; images are ``C L`` or ``C H W``.
"""

from collections.abc import Mapping
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from neuro.interop.nir.nodes import FIRING, NEURONS, NirNode
from neuro.interop.nir.shapes import NirPlan, get_steps
from neuro.interop.nir.steps import NirStep, find_rest

Value = np.ndarray  # (B, *N)


class NirRun(NamedTuple):
    """Results of a run, by path of the node; shapes (T B *N).

    outputs: what every node puts out.
    membranes: v after the reset.
    currents: I of CubaLI and CubaLIF, after the input of the tick.
    """

    outputs: dict[str, np.ndarray]
    membranes: dict[str, np.ndarray]
    currents: dict[str, np.ndarray]


def interpret(plan: NirPlan, step: NirStep, inputs: Mapping[str, np.ndarray]) -> NirRun:
    """Return the results of a network. inputs: arrays (T B *N) by name of the Input."""
    ticks, samples = next(iter(inputs.values())).shape[:2]
    running = _Running(plan, step, samples)
    for t in range(ticks):
        running.advance({name: np.asarray(x[t], np.float64) for name, x in inputs.items()})
    nodes = plan.network.nodes
    return NirRun(
        outputs={name: np.stack(values) for name, values in running.done.items()},
        membranes={name: np.stack(values) for name, values in running.voltages.items()},
        currents={
            name: np.stack(values)
            for name, values in running.currents.items()
            if "tau_syn" in nodes[name].values
        },
    )


class _Running:
    """A network between two ticks. done: the outputs of every node, one per tick."""

    def __init__(self, plan: NirPlan, step: NirStep, samples: int) -> None:
        nodes = plan.network.nodes
        self._plan, self._tick = plan, -1
        self._shapes = {name: (samples, *plan.inputs[name]) for name in nodes}
        self._cells = {
            name: NirCell(node, step, self._shapes[name])
            for name, node in nodes.items()
            if node.kind in NEURONS
        }
        self._lines = {
            name: NirDelayLine(node, step, self._shapes[name])
            for name, node in nodes.items()
            if node.kind == "Delay"
        }
        self.done: dict[str, list[Value]] = {name: [] for name in nodes}
        self.voltages: dict[str, list[Value]] = {name: [] for name in self._cells}
        self.currents: dict[str, list[Value]] = {name: [] for name in self._cells}

    def advance(self, inputs: Mapping[str, Value]) -> None:
        """Compute one tick."""
        self._tick += 1
        # In a loop a Delay comes before its source. It needs no input if it delays all values.
        early = [name for name, line in self._lines.items() if not line.instant.any()]
        for name in early:
            self.done[name].append(self._lines[name].read(None))
        for name in self._plan.order:
            if name in inputs:
                self.done[name].append(inputs[name])
            elif name not in early:
                self.done[name].append(self._compute(name))
        for name, line in self._lines.items():
            line.write(self._gather(name))

    def _compute(self, name: str) -> Value:
        """Return the output of a node in this tick."""
        x = self._gather(name)
        if name in self._lines:
            return self._lines[name].read(x)
        if name not in self._cells:
            return apply(self._plan.network.nodes[name], x)
        cell = self._cells[name]
        y = cell.advance(x)
        self.voltages[name].append(cell.shown)
        self.currents[name].append(cell.current)
        return y

    def _gather(self, name: str) -> Value:
        """Return the sum of the values that the edges bring into a node in this tick."""
        x = np.zeros(self._shapes[name])
        for source, late in self._plan.sources(name):
            if self._tick >= late:
                x += self.done[source][self._tick - late]
        return x


class NirDelayLine:
    """A Delay: y[t] = x[t - delay / dt], 0 before the start."""

    def __init__(self, node: NirNode, step: NirStep, shape: tuple[int, ...]) -> None:
        wait = np.rint(node.values["delay"] / step.dt).astype(int)
        self._wait = np.broadcast_to(wait, shape)
        self.instant = self._wait == 0
        self._past: list[Value] = []

    def read(self, now: Value | None) -> Value:
        """Return the output of this tick. now: its input, needed where the delay is 0."""
        out = np.zeros(self._wait.shape)
        for wait in np.unique(self._wait):
            if wait == 0 and now is not None:
                out[self.instant] = now[self.instant]
            elif 0 < wait <= len(self._past):
                here = self._wait == wait
                out[here] = self._past[-wait][here]
        return out

    def write(self, x: Value) -> None:
        """Store the input of this tick."""
        self._past.append(x)


class NirCell:
    """A neuron.

    With a delayed reset, ``shown`` is v - step / decay, so that the next tick is the same.

    Attributes:
        shown: the voltage at the end of a tick.
        current: I after the input of the tick.
    """

    def __init__(self, node: NirNode, step: NirStep, shape: tuple[int, ...]) -> None:
        self._node, self._step = node, step
        self._v = np.zeros(shape) + find_rest(node)
        self._fired = np.zeros(shape)
        self.current = np.zeros(shape)
        self.shown = self._v

    def advance(self, x: Value) -> Value:
        """Advance one tick; return the spikes, or the voltage if the neuron integrates."""
        kind, p = self._node.kind, self._node.values
        if kind == "Threshold":
            fired: Value = np.where(x > p["threshold"], 1.0, 0.0)
            self.shown = np.where(fired > 0, 0.0, x)  # no state: a spike counts as a reset
            return fired
        v = self._charge(x)
        if kind not in FIRING:
            self._v = self.shown = v
            return v
        jump = p["v_threshold"] - p["v_reset"]
        if self._step.reset == "delayed":
            v = v - jump * self._fired
        fired = np.where(v > p["v_threshold"], 1.0, 0.0)
        if self._step.reset == "hard":
            self._v = self.shown = np.where(fired > 0, p["v_reset"], v)
        elif self._step.reset == "soft":
            self._v = self.shown = v - jump * fired
        else:
            self._v, self.shown = v, v - jump * fired / self._keep()
        self._fired = fired
        return fired

    def _charge(self, x: Value) -> Value:
        """Return v at the end of a tick, before any spike."""
        kind, p, dt = self._node.kind, self._node.values, self._step.dt
        if kind in ("I", "IF"):
            return np.asarray(self._v + dt * p["r"] * x)
        euler = self._step.discretisation == "euler"
        if "tau_syn" not in p:
            target = p["v_leak"] + p["r"] * x
            if euler:
                return np.asarray(self._v + np.minimum(dt / p["tau"], 1) * (target - self._v))
            return np.asarray(target + (self._v - target) * np.exp(-dt / p["tau"]))
        tau, tau_syn, r = p["tau_mem"], p["tau_syn"], p["r"]
        if euler:
            share = np.minimum(dt / tau_syn, 1)
            self.current = self.current + share * (p["w_in"] * x - self.current)
            target = p["v_leak"] + r * self.current
            return np.asarray(self._v + np.minimum(dt / tau, 1) * (target - self._v))
        arrived = self.current * np.exp(-dt / tau_syn) + p["w_in"] * x * dt / tau_syn
        self.current = arrived
        equal = np.isclose(tau, tau_syn, rtol=1e-6)
        apart = np.where(equal, 1.0, tau_syn - tau)
        a, b = np.exp(-dt / tau), np.exp(-dt / tau_syn)
        charge = np.where(equal, a * dt / tau, tau_syn / apart * (b - a))
        return np.asarray(p["v_leak"] + (self._v - p["v_leak"]) * a + r * arrived * charge)

    def _keep(self) -> Value:
        """Return the factor by which a voltage above v_leak decays in a tick."""
        kind, p, dt = self._node.kind, self._node.values, self._step.dt
        if kind == "IF":
            return np.ones(())
        tau = p["tau" if kind == "LIF" else "tau_mem"]
        if self._step.discretisation == "euler":
            return np.asarray(1 - np.minimum(dt / tau, 1))
        return np.asarray(np.exp(-dt / tau))


def apply(node: NirNode, x: Value) -> Value:
    """Return the output of a node without state for the input of a tick."""
    kind, p = node.kind, node.values
    if kind in ("Input", "Output"):
        return x
    if kind in ("Affine", "Linear"):
        y: Value = np.einsum("...oi,b...i->b...o", p["weight"].astype(np.float64), x)
        return y if p.get("bias") is None else y + p["bias"]
    if kind == "Scale":
        return np.asarray(x * p["scale"])
    if kind == "Flatten":
        first, last = (int(p[k]) for k in ("start_dim", "end_dim"))
        axes = x.ndim - 1
        first, last = (k + axes if k < 0 else k for k in (first, last))
        return x.reshape(*x.shape[: first + 1], -1, *x.shape[last + 2 :])
    axes = x.ndim - 2
    steps = get_steps(node, axes)
    if kind in ("SumPool2d", "AvgPool2d"):
        y = correlate(x, np.ones((x.shape[1], 1, *steps["kernel"])), steps, x.shape[1])
        return y / np.prod(steps["kernel"]) if kind == "AvgPool2d" else y
    y = correlate(x, p["weight"].astype(np.float64), steps, int(np.ravel(p["groups"])[0]))
    return y if p["bias"] is None else y + p["bias"].reshape(-1, *[1] * axes)


def correlate(
    x: Value, weight: np.ndarray, steps: Mapping[str, tuple[Any, ...]], groups: int
) -> Value:
    """Return the cross-correlation of images with a kernel. weight: (C_out, C_in / g, *k)."""
    x = np.pad(x, [(0, 0), (0, 0), *steps["padding"]])
    sizes = [
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(
            x.shape[2:], *(steps[k] for k in ("kernel", "stride", "dilation")), strict=True
        )
    ]
    outputs, inputs = weight.shape[:2]
    share = outputs // groups
    y = np.zeros((len(x), outputs, *sizes))
    for tap in product(*map(range, steps["kernel"])):
        window: tuple[Any, ...] = tuple(
            slice(k * d, k * d + (n - 1) * s + 1, s)
            for k, d, s, n in zip(tap, steps["dilation"], steps["stride"], sizes, strict=True)
        )
        seen = x[(..., *window)]
        for g in range(groups):
            own: Any = slice(g * inputs, (g + 1) * inputs)
            to: Any = slice(g * share, (g + 1) * share)
            w = weight[(to, slice(None), *tap)]
            y[:, to] += np.einsum("oi,bi...->bo...", w, seen[:, own])
    return y
