"""The spiking probe: events of states, a network in parts, its operations as counted."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, strategies as st
from small_attribution import small_attribution
from torch.nn import functional as F

from neuro.base.seeds import seeded
from neuro.events import simulate
from neuro.nn.trace import trace
from neuro.spikes import to_events
from tasks.attribution.config import AttributionConfig
from tasks.attribution.deployment import count_probe_macs
from tasks.attribution.documents import load
from tasks.attribution.evaluate import measure_operations
from tasks.attribution.model import (
    AttributionModel,
    InnerStates,
    SpikingProbe,
    build,
    code_changes,
    read_states,
)


def make(**change: object) -> tuple[AttributionConfig, AttributionModel, SpikingProbe]:
    config = replace(small_attribution(), arm="alif", stack="mlgru*2", theta=0.5, **change)  # type: ignore[arg-type]
    with seeded(0):
        model = build(config).eval()
    assert isinstance(model.probe, SpikingProbe)
    return config, model, model.probe


@given(
    values=st.lists(st.lists(st.integers(-8, 8), min_size=3, max_size=3), min_size=1),
    theta=st.integers(1, 6),
    cut=st.integers(0, 20),
)
def test_an_event_is_a_value_that_has_moved_by_theta(
    values: list[list[int]], theta: int, cut: int
) -> None:
    x = torch.tensor(values)[:, None].float()
    events, reference = code_changes(x, float(theta))
    for n in range(3):
        last = 0
        for t, row in enumerate(values):
            rises, falls = row[n] - last >= theta, last - row[n] >= theta
            assert (bool(events[t, 0, n]), bool(events[t, 0, 3 + n])) == (rises, falls)
            last = row[n] if rises or falls else last
            assert abs(row[n] - last) < theta
        assert int(reference[0, n]) == last
    if cut < len(x):
        first, state = code_changes(x[:cut], float(theta)) if cut else (events[:0], None)
        second, after = code_changes(x[cut:], float(theta), state)
        assert torch.equal(torch.cat([first, second]), events)
        assert torch.equal(after, reference)


def test_events_are_those_of_normalised_states_of_all_layers() -> None:
    config, model, probe = make()
    states = read_states(model.lm, load(config, "test").tokens[:, :4])
    events, _ = probe.code(states)
    assert events.shape == (24, 4, 2 * 2 * 24)
    for layer in range(2):
        own = F.rms_norm(states.attention[layer], (24,))
        alone, _ = code_changes(own, 0.5)
        part = slice(24 * layer, 24 * (layer + 1))
        assert torch.equal(events[..., :48][..., part], alone[..., :24])
        assert torch.equal(events[..., 48:][..., part], alone[..., 24:])


def test_a_document_may_come_in_parts() -> None:
    config, model, probe = make()
    states = read_states(model.lm, load(config, "test").tokens[:, :3])
    whole, _ = probe(states)
    first, state = probe(InnerStates(*(part[:, :9] for part in states)))
    second, _ = probe(InnerStates(*(part[:, 9:] for part in states)), state)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    assert whole.shape == (24, 3, 2)


def test_gradients_reach_the_probe_alone_and_thresholds_stay() -> None:
    config, model, probe = make()
    model.train()
    model(load(config, "train").tokens[:, :9])[..., 0].sum().backward()
    learned = {name for name, p in probe.named_parameters() if p.grad is not None}
    rest = {name for name, _ in probe.named_parameters()} - learned
    assert rest == {"network.hidden.spiking.threshold"}
    assert all(p.grad is None for p in model.lm.parameters())


def test_operations_are_those_that_the_event_engine_counts() -> None:
    config, model, probe = make()
    documents = load(config, "test").select(torch.arange(5))
    own = measure_operations(model, documents)
    events, _ = probe.code(read_states(model.lm, documents.tokens))
    graph = trace(probe.network, (96,))
    record, _ = simulate(graph, {"input": to_events(events)})
    counts = record.counts
    assert own.events * 5 == counts["input"].spikes == int(events.sum())
    assert own.spikes * 5 == pytest.approx(counts["hidden_spiking"].spikes)
    assert own.spikes > 0
    nodes = ("fc1", "hidden_feedback", "fc2")
    synaptic = sum(counts[name].synaptic_events_all for name in nodes)
    assert own.synaptic * 5 == pytest.approx(synaptic)
    assert own.updates == 24 * (8 + 2)
    assert count_probe_macs(config) == 24 * (96 * 8 + 8 * 8 + 8 * 2)


def test_other_probes_have_no_such_operations() -> None:
    config = small_attribution()
    with pytest.raises(TypeError, match="Probe sends no spikes; take a model of arm alif"):
        measure_operations(build(config), load(config, "test"))
