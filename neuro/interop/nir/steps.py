"""The length of a step, and the step that a tick makes of NIR's continuous equations.

    LIF      tau dv/dt = (v_leak - v) + r I                    LI: without a spike
    IF       dv/dt = r I                                       I: without a spike
    CubaLIF  tau_syn dI/dt = -I + w_in S, and the LIF's v      CubaLI: without a spike
    spike    where v > v_threshold; then v = v_reset

NIR does not define the step. With u = v - v_leak, a step of dt is here

    "euler"        u = (1 - dt / tau) u + (r dt / tau) I
                   I = (1 - dt / tau_syn) I + (w_in dt / tau_syn) S,  before u, which takes the
                   new I: as snnTorch, Norse and SpikingJelly read NIR
    "exponential"  u = a u + r (1 - a) I, a = exp(-dt / tau): exact for an input that is
                   constant in the tick. A spike into a CubaLIF is an impulse at the start of
                   its
                   tick: I rises by w_in dt / tau_syn, then both equations are solved exactly
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from neuro.base.units import Seconds
from neuro.interop.nir.nodes import FIRING, NEURONS, NirNetwork, NirNode

Discretisation = Literal["euler", "exponential"]
NirReset = Literal["hard", "soft", "delayed"]

USUAL_DT = 1e-4  # what snnTorch, SpikingJelly and the NIR paper take
FREE_TICK = Seconds(1e-3)  # of a file without time constants
SAME = 1e-4  # relative: r and tau in float32, and dt with two digits


@dataclass(frozen=True, kw_only=True)
class NirStep:
    """The length and the rules of a tick.

    dt: the step in the file's unit of time.
    tick: the same step in seconds.
    reset: "hard" sets v to v_reset; "soft" subtracts v_threshold - v_reset; "delayed" subtracts
        it one tick late, before the next decay acts, as snnTorch does.
    why_dt: where dt comes from.
    """

    dt: float
    tick: Seconds
    discretisation: Discretisation
    reset: NirReset
    why_dt: str


class NirDecays(NamedTuple):
    """The factors of a tick: v = decay v + gain i, i = decay_syn i + x.

    decay_syn: None for a neuron without a current.
    unit: scale of i: I = unit i.
    """

    decay: np.ndarray
    gain: np.ndarray
    decay_syn: np.ndarray | None = None
    unit: np.ndarray = np.ones(())


def choose_dt(network: NirNetwork) -> tuple[float, str]:
    """Return the step with which a network was probably written, and the reason."""
    stated: Any = network.metadata.get("dt")
    number = np.size(stated) == 1 and np.asarray(stated).dtype.kind in "iuf"
    if number and 0 < (dt := float(np.ravel(stated)[0])) < np.inf:
        return dt, "the file's metadata state it"
    found: list[float] = []
    times: list[float] = []
    for node in network.nodes.values():
        if node.kind in NEURONS and node.kind != "Threshold":
            found += _list_full_steps(node.values)
            times += [float(v.min()) for k, v in node.values.items() if k.startswith("tau")]
    usual = f"{USUAL_DT:g}, the usual one"
    if not found and not times:
        waits = [n.values["delay"] for n in network.nodes.values() if n.kind == "Delay"]
        if all((wait == np.rint(wait)).all() for wait in waits):
            return 1.0, "r = 1 and no time constants: the unit of time is the tick"
    if not found:
        return USUAL_DT, f"r and w_in are 1 and tell no step: {usual}"
    why = "with it r dt / tau and w_in dt / tau_syn are 1 wherever r and w_in are not"
    step = _find_round(found)
    if step is None and times:
        why = "with it r = tau exp(-dt / tau) / dt, as Rockpool writes"
        step = _find_round(_list_decayed_steps(network))
    if step is None:
        low, high = min(found), max(found)
        return USUAL_DT, f"r and w_in tell no round step ({low:.5g} to {high:.5g}): {usual}"
    if times and step > min(times) * (1 + SAME):
        return USUAL_DT, f"r and w_in tell {step:g}, longer than a time constant: {usual}"
    return step, why


def choose_tick(network: NirNetwork, dt: float) -> Seconds:
    """Return the length of a tick [s]: dt, or 1 ms if the network counts time in ticks."""
    timed = any(k.startswith("tau") for node in network.nodes.values() for k in node.values)
    return FREE_TICK if dt == 1 and not timed else Seconds(dt)


def _find_round(steps: list[float]) -> float | None:
    """Return the two-digit step that all steps equal up to rounding; None if there is none."""
    if not steps:
        return None
    dt = float(f"{min(steps):.1e}")
    return dt if all(abs(step - dt) <= SAME * dt for step in steps) else None


def _list_decayed_steps(network: NirNetwork) -> list[float]:
    """Return the steps at which r = tau exp(-dt / tau) / dt, for the neurons with a tau."""
    steps = []
    for node in network.nodes.values():
        tau = node.values.get("tau", node.values.get("tau_mem"))
        if node.kind not in NEURONS or tau is None or (node.values["r"] <= 0).any():
            continue
        r, x = node.values["r"], 1 / (1 + node.values["r"])  # x exp(x) = 1 / r
        for _ in range(50):  # Newton's steps
            x = x - (x - np.exp(-x) / r) / (1 + np.exp(-x) / r)
        steps += [float((x * tau).min()), float((x * tau).max())]
    return steps


def _list_full_steps(values: Mapping[str, np.ndarray]) -> list[float]:
    """Return the smallest and largest step at which r or w_in, unless 1, scales input by 1."""
    scales = [(values.get("tau", values.get("tau_mem", np.ones(()))), values["r"])]
    if "tau_syn" in values:
        scales.append((values["tau_syn"], values["w_in"]))
    steps: list[float] = []
    for time, scale in scales:
        if (scale > 0).all() and (scale != 1).any():
            steps += [float((time / scale).min()), float((time / scale).max())]
    return steps


def choose_discretisation(network: NirNetwork) -> Discretisation:
    """Return the discretisation in a network's metadata, which our writer adds; else Euler."""
    stated = network.metadata.get("discretisation")
    word = stated.decode("utf8", "replace") if isinstance(stated, bytes) else stated
    return "exponential" if word == "exponential" else "euler"


def find_decays(node: NirNode, step: NirStep) -> NirDecays | str:
    """Return the factors of a tick for a neuron, or what is wrong with its time constants."""
    values, dt = node.values, step.dt
    if node.kind == "Threshold":
        return NirDecays(np.zeros(()), np.ones(()))
    if node.kind in ("I", "IF"):
        return NirDecays(np.ones(()), values["r"] * dt)
    times = {k: v for k, v in values.items() if k.startswith("tau")}
    for name, tau in times.items():
        if (tau <= 0).any():
            return f"{name} must be > 0, got {float(tau.min()):g}"
    shortest = min(float(tau.min()) for tau in times.values())
    euler = step.discretisation == "euler"
    # Times in float32 and a dt of two digits: a tau that equals dt up to rounding counts as dt.
    if euler and dt > shortest * (1 + 1e-6):
        return (
            f"a time constant of {shortest:g} is shorter than dt = {dt:g}, and an Euler step "
            f"would overshoot; read with dt <= {shortest:g} or discretisation='exponential'"
        )
    tau = times["tau" if "tau" in times else "tau_mem"]
    share = np.minimum(dt / tau, 1)
    decay = 1 - share if euler else np.exp(-dt / tau)
    if "tau_syn" not in times:
        return NirDecays(decay, values["r"] * (share if euler else -np.expm1(-dt / tau)))
    tau_syn = times["tau_syn"]
    unit = (
        values["w_in"] * np.minimum(dt / tau_syn, 1) if euler else values["w_in"] * dt / tau_syn
    )
    if euler:
        into = share
        decay_syn = 1 - np.minimum(dt / tau_syn, 1)
    else:
        into = find_charge(tau, tau_syn, dt)
        decay_syn = np.exp(-dt / tau_syn)
    return NirDecays(decay, values["r"] * into * unit, decay_syn, unit)


def find_rest(node: NirNode) -> np.ndarray:
    """Return the voltage at which a membrane starts and from which it is counted.

    This is v_leak, or 0 without one. A neuron with v_leak above its threshold starts at
    v_reset: it fires without input and never rests at v_leak.
    """
    leak: np.ndarray = node.values.get("v_leak", np.zeros(()))
    if node.kind not in FIRING or "v_leak" not in node.values:
        return leak
    return np.where(leak > node.values["v_threshold"], node.values["v_reset"], leak)


def find_charge(tau: np.ndarray, tau_syn: np.ndarray, dt: float) -> np.ndarray:
    """Return v after a tick in which a current decays from 1: (a - c) / (tau / tau_syn - 1)."""
    slower = tau / tau_syn - 1
    x = slower * dt / tau
    a = np.exp(-dt / tau)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(x == 0, a * dt / tau, -a * np.expm1(-x) / slower)
