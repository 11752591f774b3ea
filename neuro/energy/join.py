"""The energy of an inference that runs several networks on one chip.

Each network lies on cores of its own. They take turns, and all chips leak as long as any runs.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from neuro.energy.constants import Bounds, Interval, sum_intervals
from neuro.energy.conventions import ConventionalEnergy
from neuro.energy.estimate import EnergyTiers, Estimate, NetworkRuns
from neuro.energy.latency import Latency
from neuro.energy.mapping import Placement
from neuro.networks import join_layers, join_messages, name_layer
from neuro.units import Joules


@dataclass(frozen=True, kw_only=True)
class JoinedEstimate(EnergyTiers):
    """Several networks on one chip, per inference; layers by :func:`neuro.networks.name_layer`.

    runs: by network. samples, host_macs, silent: those of the first.
    """

    runs: Mapping[str, NetworkRuns]

    @property
    def networks(self) -> Mapping[str, NetworkRuns]:
        """The estimates of the networks."""
        return self.runs


def join_estimates(networks: Mapping[str, NetworkRuns]) -> Estimate | JoinedEstimate:
    """Return the estimate of all networks together; all are of the same chip."""
    first, *others = (estimate for estimate, _ in networks.values())
    if not others:
        return first
    placement = _join_placements(networks)
    static, host = Interval(), Interval()
    for estimate, runs in networks.values():
        share = replace(
            Interval.exact(runs * placement.chips / estimate.placement.chips),
            low=runs * placement.cores / estimate.placement.cores,
        )
        static += share * _subtract(estimate.whole_chip, estimate.core)
        host += share * _subtract(estimate.system, estimate.whole_chip)
    core = sum_intervals([estimate.core * runs for estimate, runs in networks.values()])
    system: Interval | Bounds = core + static + host
    if isinstance(first.system, Bounds):  # as of all networks: the host belongs to the chip
        system = Bounds(system.low, system.high)
    ticks = sum(runs * estimate.ticks for estimate, runs in networks.values())
    return JoinedEstimate(
        chip=first.chip,
        ticks=ticks,
        samples=first.samples,
        core=core,
        static=static,
        system=system,
        placement=placement,
        latency=_join_latencies(networks, ticks),
        convention=_join_conventions(networks),
        host_macs=first.host_macs,
        silent=first.silent,
        misfits=join_messages({name: x.misfits or () for name, (x, _) in networks.items()}),
        runs=networks,
    )


def _subtract(tier: Interval | Bounds, below: Interval) -> Interval:
    """Return what a tier adds to the one below; 0 where no nominal value is published."""
    nominal = 0.0 if tier.nominal is None else tier.nominal - below.nominal
    return Interval(tier.low - below.low, nominal, tier.high - below.high)


def _join_placements(networks: Mapping[str, NetworkRuns]) -> Placement:
    """Return the placement of all networks, one behind the other."""
    layers, destinations, cores = {}, {}, 0
    for network, (estimate, _) in networks.items():
        placement = estimate.placement
        layers[network] = {
            name: replace(
                layer,
                first_core=layer.first_core + cores,
                given=tuple(core + cores for core in layer.given),
            )
            if layer.cores  # Inputs take none and enter at core 0
            else layer
            for name, layer in placement.layers.items()
        }
        destinations[network] = {
            name: tuple(name_layer(network, target) for target in targets)
            for name, targets in placement.destinations.items()
        }
        cores += placement.cores
    first, _ = next(iter(networks.values()))
    return Placement(
        layers=join_layers(layers),
        destinations=join_layers(destinations),
        cores=cores,
        chips=max(1, math.ceil(cores / first.chip.limits.cores.value)),
    )


def _join_latencies(networks: Mapping[str, NetworkRuns], ticks: int) -> Latency:
    seconds = {k: estimate.latency.inference * runs for k, (estimate, runs) in networks.items()}
    total = sum_intervals(list(seconds.values()))
    slowest = max(seconds, key=lambda network: seconds[network].nominal)
    return Latency(
        inference=total,
        tick=Interval(total.low / ticks, total.nominal / ticks, total.high / ticks),
        bottleneck=name_layer(slowest, networks[slowest].estimate.latency.bottleneck),
    )


def _join_conventions(networks: Mapping[str, NetworkRuns]) -> ConventionalEnergy:
    """Return the 45 nm figures; those per synapse are of the synapses of all networks."""
    each = [(estimate.convention, runs) for estimate, runs in networks.values()]
    synapses = sum(c.synapses for c, _ in each)
    ticks = sum(runs * e.convention.synapses * e.ticks for e, runs in networks.values())
    spikes = sum(runs * c.spikes_per_synapse * c.synapses for c, runs in each)
    even = sum(runs * c.break_even_spikes_per_synapse * c.synapses for c, runs in each)
    break_even = even / synapses if synapses else 0.0
    return ConventionalEnergy(
        snn=Joules(sum(runs * c.snn for c, runs in each)),
        ann=Joules(sum(runs * c.ann for c, runs in each)),
        ann_passes=sum(runs * c.ann_passes for c, runs in each),
        host=Joules(sum(runs * c.host for c, runs in each)),
        synapses=synapses,
        spikes_per_synapse=spikes / synapses if synapses else 0.0,
        break_even_spikes_per_synapse=break_even,
        break_even_rate=break_even * synapses / ticks if ticks else 0.0,
    )
