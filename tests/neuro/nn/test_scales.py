"""Scales of an ANN's ReLUs, and what each layer loses by conversion."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from neuro.base.seeds import seeded
from neuro.graph import Graph
from neuro.graph.convert import convert
from neuro.neurons import LI
from neuro.nn import scales as module
from neuro.nn.layers import Spiking, Stack
from neuro.nn.net import Net
from neuro.nn.scales import find_scales, measure_conversion, split_error
from neuro.nn.trace import trace

X = np.random.default_rng(4).random((30, 2, 6, 6))


def make_ann() -> Graph:
    with seeded(1):
        net = Stack(
            conv=nn.Conv2d(2, 3, 3),
            relu1=nn.ReLU(),
            flat=nn.Flatten(),
            fc=nn.Linear(48, 20),
            relu2=nn.ReLU(),
            out=nn.Linear(20, 4),
            read=Spiking(LI(tau=0.02)),  # type: ignore[arg-type]
        )
    return trace(net, (2, 6, 6))


def run(graph: Graph) -> dict[str, np.ndarray]:
    with torch.no_grad():
        out = Net(graph).double()({"input": torch.from_numpy(X[None])})[0]
    return {name: y[0].numpy() for name, y in out.items()}


def test_a_scale_is_the_exact_percentile_whatever_the_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = make_ann()
    out = run(graph)["relu1"].astype(np.float32)
    monkeypatch.setattr(module, "AT_ONCE", 7 * sum(map(graph.size, graph.nodes)))
    by_layer = find_scales(graph, {"input": X}, 90.0, "layer")
    assert by_layer["relu1"] == pytest.approx(np.percentile(out, 90.0), rel=1e-6)
    by_channel = find_scales(graph, {"input": X}, 90.0)["relu1"]
    want = [np.percentile(out[:, c], 90.0) for c in range(3)]
    np.testing.assert_allclose(by_channel, want, rtol=1e-6)
    assert len(set(want)) == 3


def test_a_silent_channel_gets_the_scale_of_its_layer() -> None:
    graph = make_ann()
    conv = graph.nodes["conv"]
    weight, bias = np.array(conv.weight), np.array(conv.bias)  # type: ignore[union-attr]
    weight[1], bias[1] = 0.0, -1.0
    graph = replace(graph, nodes={**graph.nodes, "conv": conv.with_weight(weight, bias)})  # type: ignore[union-attr]
    found = find_scales(graph, {"input": X}, 99.0)["relu1"]
    layer = find_scales(graph, {"input": X}, 99.0, "layer")["relu1"]
    assert isinstance(found, np.ndarray)
    assert found[1] == layer
    assert found[0] != layer


def test_a_silent_layer_is_refused_by_name() -> None:
    graph = make_ann()
    fc = graph.nodes["fc"]
    silent = fc.with_weight(np.zeros((20, 48)), np.full(20, -1.0))  # type: ignore[union-attr]
    graph = replace(graph, nodes={**graph.nodes, "fc": silent})
    with pytest.raises(ValueError, match="relu2: the 50th percentile of the outputs is 0"):
        find_scales(graph, {"input": X}, 50.0)


def test_the_first_spike_is_that_of_all_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = make_ann()
    converted = convert(graph, find_scales(graph, {"input": X}))
    faint = X * np.linspace(0.05, 1, len(X)).reshape(-1, 1, 1, 1)  # its first image fires last
    whole = measure_conversion(graph, converted, {"input": faint}, 16, (16,)).layers
    monkeypatch.setattr(module, "AT_ONCE", 1)
    alone = measure_conversion(graph, converted, {"input": faint}, 16, (16,)).layers
    assert [x.first_spike for x in alone] == [x.first_spike for x in whole]
    for one, other in zip(alone, whole, strict=True):
        assert one.total == pytest.approx(other.total)


@pytest.mark.parametrize(("ticks", "until"), [(0, (1,)), (4, (0,)), (-1, (2,))])
def test_lengths_that_no_run_has_are_refused(ticks: int, until: tuple[int, ...]) -> None:
    graph = make_ann()
    converted = convert(graph, find_scales(graph, {"input": X}))
    with pytest.raises(ValueError, match="all must be >= 1"):
        measure_conversion(graph, converted, {"input": X}, ticks, until)
    with pytest.raises(ValueError, match="there are no samples"):
        find_scales(graph, {"input": X[:0]})


@pytest.mark.parametrize("percentile", [0.0, -1.0, 100.5])
def test_a_percentile_out_of_range_is_refused(percentile: float) -> None:
    with pytest.raises(ValueError, match=r"must be > 0 and <= 100"):
        find_scales(make_ann(), {"input": X}, percentile)


def test_the_parts_of_an_error_add_up() -> None:
    mean = torch.tensor([-1.0, 0.26, 0.9, 5.0], dtype=torch.float64)
    spikes = torch.tensor([1.0, 2.0, 1.0, 4.0], dtype=torch.float64)
    scale = torch.tensor(2.0, dtype=torch.float64)
    parts = split_error(mean, spikes, scale, 4)
    assert parts.clipped.tolist() == [0, 0, 0, -3]
    # rounded to 0, 0.5 (of 0.26), 1 and 2
    assert parts.quantisation.tolist() == pytest.approx([0, 0.24, 0.1, 0])
    assert parts.unevenness.tolist() == pytest.approx([0.5, 0.5, -0.5, 0])
    whole = scale * spikes / 4 - mean.clamp(min=0)
    torch.testing.assert_close(sum(parts), whole, rtol=0, atol=1e-12)


def measure(spoilt: str, factor: float) -> module.MeasuredConversion:
    graph = make_ann()
    scales = dict(find_scales(graph, {"input": X}, by="layer"))
    if spoilt:
        scales[spoilt] = scales[spoilt] * factor
    return measure_conversion(graph, convert(graph, scales), {"input": X}, 16, (1, 16, 40))


@pytest.mark.parametrize(
    ("spoilt", "factor", "part"),
    [("relu1", 10, "quantisation"), ("relu1", 0.1, "clipped"), ("relu2", 0.1, "clipped")],
)
def test_a_spoilt_layer_is_the_worst(spoilt: str, factor: float, part: str) -> None:
    layers = measure(spoilt, factor).layers
    worst = max(layers, key=lambda layer: layer.own_error)
    assert worst.name == spoilt
    assert worst.own_error == getattr(worst, part)


def test_layers_are_measured_after_their_ticks_and_logits_at_theirs() -> None:
    graph, found = make_ann(), measure("", 1.0)
    assert sorted(found.logits) == [1, 16, 40]
    scales = find_scales(graph, {"input": X}, by="layer")
    converted = convert(graph, scales)
    with torch.no_grad():
        shown = torch.from_numpy(np.broadcast_to(X, (40, *X.shape)).copy())
        out = Net(converted).double()({"input": shown})[0]
    np.testing.assert_allclose(found.logits[40], out["read"][39] / 40, rtol=1e-9)
    np.testing.assert_allclose(found.logits[1], out["read"][0], rtol=1e-9)
    first, second = found.layers
    spikes = out["relu1"][:16]
    assert first.rate == pytest.approx(float(spikes.mean()))
    z = run(graph)["conv"]
    wanted = np.maximum(z, 0)
    error = np.abs(float(scales["relu1"]) * spikes.mean(0).numpy() - wanted)
    assert first.total == pytest.approx(error.mean() / wanted.mean())
    when = np.flatnonzero(out["relu2"].flatten(1).any(1).numpy())[0] + 1
    assert second.first_spike == when
    assert first.unevenness == 0  # its input is constant


def test_clipping_that_was_trained_is_no_error() -> None:
    graph = make_ann()
    counted = replace(graph.nodes["relu1"], levels=4, scale=0.1)  # type: ignore[type-var]
    graph = replace(graph, nodes={**graph.nodes, "relu1": counted})
    converted = convert(graph, find_scales(graph, {"input": X}, by="layer"))
    first, _ = measure_conversion(graph, converted, {"input": X}, 16, (16,)).layers
    assert first.clipped == 0
    assert first.scale == pytest.approx(0.1)
