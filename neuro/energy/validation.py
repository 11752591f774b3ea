"""The energy and time model compared with a published measurement: PilotNet on Loihi 2.

The numbers come from the benchmark notebook of lava-dl (pilotnet_snn, BSD-3-Clause), which
prints cores, power and the time of each step; events per layer come from a simulation of its
published network. The notebook's image never reaches the network: all neurons are driven by
their bias, in a cycle of four steps. Events through weights of zero are left out. The network
itself is not needed.

Two traps: Loihi 2 has no published prices, and those of its chip file are fitted to this case,
so that only the prices of Loihi 1 test the energy. And the time of a synaptic event there is
taken from this series, so that only the pattern of the steps tests the time.
"""

from dataclasses import dataclass

import numpy as np

from neuro.energy.chip import Chip, sum_intervals
from neuro.energy.operations import Operations, price_operations
from neuro.energy.traffic import Traffic


@dataclass(frozen=True, kw_only=True)
class PublishedLayer:
    """A layer of a measured network; spikes and synaptic events are means per step."""

    name: str
    neurons: int
    cores: int
    spikes: float
    events: float
    shared_kernel: bool


@dataclass(frozen=True, kw_only=True)
class Check:
    """A figure of the model and a published one; the ratio must be from low to high."""

    name: str
    ours: float
    theirs: float
    unit: str
    low: float
    high: float

    @property
    def ratio(self) -> float:
        """Our figure over the published one."""
        return self.ours / self.theirs

    @property
    def passes(self) -> bool:
        """Whether the ratio is accepted."""
        return self.low <= self.ratio <= self.high


PILOTNET = tuple(
    PublishedLayer(
        name=name,
        neurons=neurons,
        cores=cores,
        spikes=spikes,
        events=events,
        shared_kernel=name.startswith("conv"),
    )
    for name, neurons, cores, spikes, events in (
        ("input", 39_600, 13, 0.0, 0.0),
        ("conv0", 76_032, 25, 26_928.0, 0.0),
        ("conv1", 26_460, 13, 6_247.5, 1_604_872.5),
        ("conv2", 8_064, 3, 840.0, 452_130.0),
        ("conv3", 5_632, 3, 433.125, 144_599.125),
        ("conv4", 2_560, 2, 146.25, 63_890.0),
        ("fc0", 100, 12, 7.75, 3_888.8125),
        ("fc1", 50, 1, 3.4375, 298.8125),
        ("fc2", 10, 1, 1.125, 30.0),
        ("fc3", 1, 1, 0.0, 1.125),
    )
)
STEP = 152.85e-6  # mean time of a step [s]
DYNAMIC = 0.447156 * STEP  # dynamic energy of a step [J]
EVENTS_OF_STEP = (585_312, 318_528, 531_552, 373_128)  # events of conv2 on its three cores
TIME_OF_STEP = (201.4e-6, 107.0e-6, 180.9e-6, 125.4e-6)  # measured [s]
ENERGY_RATIO, TIME_RATIO = (0.8, 1.25), (0.9, 1.1)


def check_energy(chip: Chip) -> Check:
    """Compare the dynamic energy of a step, at the prices of a chip.

    A spike is one message on its own tile, because the placement is not published.
    """
    joules = 0.0
    for layer in PILOTNET:
        sent = Traffic(messages=round(layer.spikes))
        ops = Operations(
            synaptic_events=round(layer.events),
            synaptic_events_all=round(layer.events),
            shared_kernel=layer.shared_kernel,
            active=layer.neurons,
            active_least=layer.neurons,
            active_most=layer.neurons,
            spikes=round(layer.spikes),
            messages_least=round(layer.spikes),
            sent=sent,
            sent_most=sent,
        )
        joules += sum_intervals(list(price_operations(ops, chip.energy).values())).nominal
    low, high = ENERGY_RATIO
    name = f"PilotNet, dynamic energy of a step, prices of {chip.name}"
    return Check(name=name, ours=joules, theirs=DYNAMIC, unit="J", low=low, high=high)


def list_step_seconds(chip: Chip) -> tuple[float, ...]:
    """Return the time of the four steps of the cycle, which the equal cores of conv2 determine.

    The spikes of conv1 go to each of these cores. Their number per step is not published; it is
    assumed to be proportional to the events.
    """
    cost, layers = chip.time, {layer.name: layer for layer in PILOTNET}
    before, layer = layers["conv1"], layers["conv2"]
    update = layer.neurons / layer.cores * cost.active.value
    share = np.array(EVENTS_OF_STEP) / layer.events
    serve = np.array(EVENTS_OF_STEP) / layer.cores * cost.synapse_conv.value
    arriving = share * before.spikes * cost.message.value
    return tuple(np.maximum(update, serve + arriving).tolist())


def check_steps(chip: Chip) -> tuple[Check, ...]:
    """Compare the time of each step of the cycle, relative to the mean step."""
    ours, theirs = np.array(list_step_seconds(chip)), np.array(TIME_OF_STEP)
    low, high = TIME_RATIO
    return tuple(
        Check(
            name=f"PilotNet, time of step {k} of 4 over the mean, times of {chip.name}",
            ours=float(a),
            theirs=float(b),
            unit="",
            low=low,
            high=high,
        )
        for k, (a, b) in enumerate(
            zip(ours / ours.mean(), theirs / theirs.mean(), strict=True), 1
        )
    )
