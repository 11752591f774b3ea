"""The spiking language model on the event engine, and its counted operations."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_language import make_small

from neuro.energy import count, estimate
from neuro.events import simulate
from neuro.graph import CountSpikes
from neuro.io.graph_file import load_graph, save_graph
from neuro.io.run_folder import RunError
from neuro.nn import replay
from neuro.nn.mixer_graph import EMBEDDED, LOGITS, make_graph
from neuro.nn.net import record_activity
from neuro.nn.ternary import LearnedCount, SpikeCount
from neuro.spikes import Events
from tasks.language.config import (
    LanguageConfig,
    matmulfree_370m,
    small,
    small_matmulfree,
    small_spiking,
)
from tasks.language.model import LanguageModel
from tasks.language.task import TASK

SMALL = make_small()
LAST_BITS = 1e-13  # tolerance for sums in another order


def take(tokens: slice) -> dict[str, Events]:
    e = SMALL.inputs[EMBEDDED]
    ticks = range(*tokens.indices(e.shape[0]))
    kept = (e.tick >= ticks[0]) & (e.tick <= ticks[-1])
    columns = [column[kept] for column in e[:4]]
    columns[1] = columns[1] - ticks[0]
    return {EMBEDDED: Events(*columns, (len(ticks), *e.shape[1:]))}


def test_events_and_clock_compute_the_logits_of_torch() -> None:
    engine, _ = simulate(SMALL.graph, SMALL.inputs)
    for record in (engine, replay(SMALL.graph, SMALL.inputs)):
        found = record.values[LOGITS]
        np.testing.assert_allclose(found, SMALL.logits.numpy(), rtol=0, atol=LAST_BITS)
    assert SMALL.logits.abs().max() > 0.05


def test_events_fire_at_the_threshold_that_each_map_has_learned() -> None:
    config = replace(SMALL.config, learns_threshold=True, threshold=1.0)
    with torch.no_grad():
        model = LanguageModel(config).double().eval()
        model.load_state_dict(SMALL.model.state_dict(), strict=False)
        logs = [m.log_threshold for m in model.modules() if isinstance(m, LearnedCount)]
        for k, log in enumerate(logs):
            log += 0.31 * k - 2.2
        graph = make_graph(model)
        logits, _ = model(SMALL.text)
    thresholds = [float(m.fix().threshold) for m in model.modules() if hasattr(m, "fix")]
    nodes = [node for node in graph.nodes.values() if isinstance(node, CountSpikes)]
    assert sorted({float(node.threshold) for node in nodes}) == sorted({*thresholds})
    assert len({*thresholds}) == 8
    engine, _ = simulate(graph, SMALL.inputs)
    found = engine.values[LOGITS]
    np.testing.assert_allclose(found, logits.numpy(), rtol=0, atol=LAST_BITS)
    assert (found - SMALL.logits.numpy()).max() > 0.05


def test_a_text_token_by_token_is_the_text() -> None:
    state, parts = None, []
    for t in range(12):
        record, state = simulate(SMALL.graph, take(slice(t, t + 1)), state=state)
        parts.append(record.values[LOGITS])
    whole = np.concatenate(parts)
    np.testing.assert_allclose(whole, SMALL.logits.numpy(), rtol=0, atol=LAST_BITS)
    fresh, _ = simulate(SMALL.graph, take(slice(5, 6)))
    assert np.abs(fresh.values[LOGITS] - parts[5]).max() > 1e-3  # the state matters


def test_only_spikes_through_weights_cost() -> None:
    engine, _ = simulate(SMALL.graph, SMALL.inputs)
    activity = record_activity(SMALL.graph, SMALL.inputs)
    counted = count(SMALL.graph, engine)
    for name in ("block0_forget", "block1_up_value", "block1_down", LOGITS):
        node = SMALL.graph.nodes[f"{name}_synapses"]
        source = SMALL.graph.into(f"{name}_synapses")[0].source
        sent = activity[source].numpy() != 0
        weights = node.weight != 0  # type: ignore[union-attr]
        events = int((sent.reshape(-1, sent.shape[-1]) @ weights.T.astype(int)).sum())
        assert 0 < events < sent.size * len(weights)
        for found in (engine.counts, counted):
            assert found[f"{name}_synapses"].synaptic_events == events
            assert found[f"{name}_synapses"].synaptic_events_all == sent.sum() * len(weights)


def test_its_ternary_maps_alone_lie_on_a_chip_where_a_host_does_the_rest() -> None:
    engine, _ = simulate(SMALL.graph, SMALL.inputs)
    found = estimate(SMALL.graph, engine, "loihi2")
    maps = 2 * 7 + 1
    assert sum(layer.cores > 0 for layer in found.placement.layers.values()) == maps
    assert set(found.host_macs) >= {"block0_state", "block1_down_spikes", "norm"}
    assert "block0_up_value_value" not in found.host_macs  # passed on without computation


def test_a_graph_has_the_weights_and_counts_of_the_model(tmp_path: Path) -> None:
    weight = SMALL.model.blocks[1].up.weight.detach()  # type: ignore[union-attr]
    node = SMALL.graph.nodes["block1_up_value_synapses"]
    size = weight.abs().mean()
    signs = (weight / size).round().clamp(-1, 1)[24:]
    np.testing.assert_array_equal(node.weight, signs)  # type: ignore[union-attr]
    gain = float(SMALL.graph.nodes["block1_up_value"].gain)  # type: ignore[union-attr]
    assert gain == pytest.approx(float(size) * 0.75, rel=1e-15)
    x = torch.linspace(-5, 5, 401, dtype=torch.float64)[:, None]
    spikes = SMALL.graph.nodes["block0_forget_spikes"]
    assert torch.equal(spikes.run(x), SpikeCount()(x)[0])  # type: ignore[union-attr]
    save_graph(tmp_path / "graph.safetensors", SMALL.graph)
    engine, _ = simulate(load_graph(tmp_path / "graph.safetensors"), SMALL.inputs)
    assert np.array_equal(
        engine.values[LOGITS], simulate(SMALL.graph, SMALL.inputs)[0].values[LOGITS]
    )


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (small(), "its maps are float, and only spikes run on events and chips"),
        (small_matmulfree(), "its maps are ternary"),
        (replace(small(), linear="int8"), "its maps are int8, and only spikes run"),
        (matmulfree_370m(), "its maps are ternary"),
        (replace(small_spiking(), stack="mlgru+hgrn+gla"), "has MLGRU, and no gla, hgrn"),
    ],
)
def test_other_models_stay_on_torch_and_say_why(config: LanguageConfig, why: str) -> None:
    with pytest.raises(RunError, match=why) as told:
        TASK.deployment.part(config, torch.nn.Identity())
    assert "take a run of language:small_spiking" in str(told.value)


def test_a_layer_of_another_kind_is_refused_where_it_is() -> None:
    with torch.device("meta"):
        model = LanguageModel(replace(small_spiking(), stack="hgrn"))
        with pytest.raises(TypeError, match="block0: a Graph holds blocks of MLGRU"):
            make_graph(model)
