from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lava_export.chip_program import list_misfits
from neuro.base.seeds import seeded
from neuro.energy import find_chips
from neuro.events import simulate
from neuro.graph import GradedInput, Graph
from neuro.nn import replay
from neuro.nn.layers import Spiking, list_steps
from neuro.spikes import to_events, to_raster
from tasks.images.classification import cifar10, mnist
from tasks.images.classification.network import NetConfig, build, loss, scores, stimulus
from tasks.measures.energy import estimate_samples
from tasks.runs.find import find_task
from tasks.runs.samples import Samples


def parameters(model: nn.Module, kind: type[nn.Module]) -> int:
    """Count the parameters of one kind of layer."""
    layers = [m for _, m in list_steps(model) if isinstance(m, kind)]
    return sum(p.numel() for layer in layers for p in layer.parameters())


def macs(model: nn.Module, image: tuple[int, int, int]) -> dict[str, int]:
    """Count multiply-accumulates of each weighted layer for one tick, on the meta device."""
    counted: dict[str, int] = {}

    def count(name: str):  # type: ignore[no-untyped-def]
        def hook(layer: nn.Module, _: object, y: torch.Tensor) -> None:
            a_value = layer.weight[0].numel()  # type: ignore[index, operator, union-attr]
            counted[name] = y[0].numel() * a_value

        return hook

    for name, layer in list_steps(model):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count(name))
    x = torch.empty(1, 1, *image, device="meta")
    for _, layer in list_steps(model):
        x = x if isinstance(layer, Spiking) else layer(x.flatten(0, 1))[None]
    return counted


def test_a_report_says_whether_the_layers_spike_and_what_goes_in() -> None:
    for task in (mnist, cifar10):
        about = task.TASK.about
        assert callable(about)
        spiking, ann, graded = (about(make()) for make in (task.tiny, task.relu, task.paper))
        assert spiking.endswith("All layers in between are spiking neurons.")
        assert "goes in as spikes," in spiking
        assert "ANN with ReLUs, which neuro convert makes spike" in ann
        assert "values," in ann
        assert about(task.counted()) == ann
        assert graded.endswith("spiking neurons.")


def test_the_paper_s_network_for_mnist_has_its_size() -> None:
    with torch.device("meta"):
        model = mnist.build(mnist.paper())
    assert parameters(model, nn.Conv2d) == 1 * 128 * 9 + 128 * 128 * 9
    assert parameters(model, nn.Linear) == 128 * 49 * 2048 + 2048 * 100
    assert parameters(model, nn.BatchNorm2d) == 2 * 2 * 128
    assert parameters(model, Spiking) == 4 * 2
    once, *at_every_tick = macs(model, (1, 28, 28)).values()
    assert once == 903_168
    # "about 336 M MAC forward per image" at 8 ticks, the first convolution once
    assert once + 8 * sum(at_every_tick) == 336_513_024


def test_the_paper_s_network_for_cifar10_has_its_size() -> None:
    with torch.device("meta"):
        model = cifar10.build(cifar10.paper())
    assert parameters(model, nn.Conv2d) == 3 * 256 * 9 + 5 * 256 * 256 * 9
    assert parameters(model, nn.Linear) == 256 * 64 * 2048 + 2048 * 100
    assert parameters(model, Spiking) == 8 * 2
    once, *at_every_tick = macs(model, (3, 32, 32)).values()
    assert once == 7_077_888
    assert 13.5e9 < once + 8 * sum(at_every_tick) < 13.7e9  # "13.6 GMAC an image"


def test_kernels_keep_the_size_of_padded_maps() -> None:
    """The first convolution has its own kernel size, the others have 3 x 3."""
    config = NetConfig(blocks=(2, 0, 4), first=5)
    model = build(config, (3, 16, 12), 10)
    first, other = model.get_submodule("conv1"), model.get_submodule("conv2")
    assert first.get_parameter("weight").shape == (2, 3, 5, 5)
    assert other.get_parameter("weight").shape == (4, 2, 3, 3)
    assert model.get_submodule("fc").get_parameter("weight").shape == (10, 4 * 8 * 6)
    y, _ = model(torch.zeros(2, 1, 3, 16, 12))
    assert y.shape == (2, 1, 10)
    unpadded = build(replace(config, padded=False), (3, 16, 12), 10)
    fc = unpadded.get_submodule("fc").get_parameter("weight")
    assert fc.shape == (10, 4 * (6 - 2) * (4 - 2))


def test_without_norms_a_weight_is_drawn_for_the_inputs_that_it_has() -> None:
    with seeded(0):
        model = build(NetConfig(blocks=(16, 64), norm=False), (1, 8, 8), 10)
    weight = model.get_submodule("conv2").get_parameter("weight").detach()
    assert float(weight.std()) == pytest.approx((4 / (16 * 9)) ** 0.5, rel=0.03)
    assert float(weight.mean()) == pytest.approx(0, abs=0.01)


def test_dropouts_stand_before_dense_layers_and_the_last_before_the_answer() -> None:
    config = NetConfig(blocks=(2, 0), hidden=(8, 6), dropout=(0.3, 0.2, 0.1), beta=0.25)
    model = build(config, (1, 8, 8), 10)
    steps = list_steps(model)
    names = [name for name, _ in steps]
    assert names[names.index("flat") + 1 :] == [
        *("drop1", "fc1", "dense1", "drop2", "fc2", "dense2", "drop", "fc", "readout")
    ]
    assert [m.p for _, m in steps if isinstance(m, nn.Dropout)] == [0.3, 0.2, 0.1]
    cells = model.get_submodule("dense2")
    assert isinstance(cells, Spiking)
    assert cells.frozen().coefficients(cells.dt).beta == 0.25


def test_votes_are_averaged_over_ticks_and_voters() -> None:
    y = torch.zeros(2, 1, 6)
    y[0, 0, 2], y[1, 0, 3], y[0, 0, 4] = 1, 1, 1
    assert scores(y, classes=3).tolist() == [[0, 0.5, 0.25]]


def test_votes_learn_from_squared_errors_and_read_outs_from_cross_entropy() -> None:
    y, labels = torch.full((4, 1, 100), 0.25), torch.tensor([7])
    vote = loss(NetConfig(vote=10), y, labels)
    assert vote.item() == pytest.approx((9 * 0.25**2 + 0.75**2) / 10)
    read_out = loss(NetConfig(), torch.zeros(4, 1, 10), labels)
    assert read_out.item() == pytest.approx(2.302585, rel=1e-6)


def test_fixed_thresholds_get_no_gradient_and_leaks_do() -> None:
    config = NetConfig(ticks=2, blocks=(2, 0), threshold="fixed")
    model = build(config, (1, 8, 8), 10)
    y, _ = model(stimulus(torch.rand(3, 1, 8, 8), config))
    y.sum().backward()
    cells = model.get_submodule("alif1")
    assert cells.get_parameter("threshold").grad is None
    assert cells.get_parameter("logit_leak").grad is not None


def test_a_direct_code_is_the_image_at_every_tick() -> None:
    image = torch.rand(1, 1, 4, 4)
    x = stimulus(image, NetConfig(ticks=3, code="direct"))
    assert x.shape == (3, 1, 1, 4, 4)
    assert all(torch.equal(tick, image) for tick in x)


@pytest.mark.parametrize("vote", [0, 2])
def test_a_direct_code_runs_on_the_chip_as_graded_spikes_of_whole_pixels(vote: int) -> None:
    config = replace(mnist.tiny(), code="direct", pool="max", vote=vote, test=6)
    task = find_task("mnist")
    with seeded(0):
        model = task.training.build(config).eval()
    with torch.no_grad():
        model.get_submodule("conv2").get_parameter("weight").mul_(8)
    x, _ = next(iter(task.training.batches(config, "test", 0)))
    inputs, labels, _ = next(iter(task.deployment.stimuli(config, model, "test")))
    pixels = mnist.digits(config, "test").images
    assert torch.equal(inputs["input"], torch.from_numpy(pixels).float().expand_as(x))
    graph = task.deployment.part(config, model)
    assert isinstance(graph, Graph)
    assert isinstance(own := graph.nodes["input"], GradedInput)
    assert own.message_bits == 9
    stimuli = {"input": to_events(inputs["input"].flatten(2).numpy())}
    clock, (events, _) = replay(graph, stimuli), simulate(graph, stimuli)
    for name in graph.firing:
        assert clock.spikes[name].tick.size > 0
        assert (clock.spikes[name].tick == events.spikes[name].tick).all()
        assert (clock.spikes[name].neuron == events.spikes[name].neuron).all()
    y = to_raster(clock.spikes["readout"]) if vote else clock.values["readout"]
    y = torch.from_numpy(y).float()
    torch.testing.assert_close(y, model(x)[0], rtol=0, atol=1e-5)
    assert len(labels) == 6


def test_the_first_layer_of_the_paper_s_network_is_priced_and_loihi_1_refused() -> None:
    """Of the same structure as cifar10:paper, with fewer channels."""
    small = replace(cifar10.paper(), source="generated", ticks=2, test=2)
    small = replace(small, blocks=(2, 3, 2, 0, 3, 2, 2, 0), hidden=(12,), vote=2)
    task = find_task("cifar10")
    with seeded(0):
        model = task.training.build(small).eval()
    graph = task.deployment.part(small, model)
    (stimulus,) = task.deployment.stimuli(small, model, "test")
    samples = Samples(
        {"input": to_events(stimulus.inputs["input"].flatten(2).numpy())}, stimulus.targets
    )
    found = estimate_samples(graph, samples, ["loihi1", "loihi2"])
    sent = (stimulus.inputs["input"] != 0).flatten(0, 1).float()
    events = F.conv2d(sent, torch.ones(2, 3, 3, 3), padding=1).sum()
    assert found["loihi2"]["layers"]["conv1"]["synaptic_events"] == events / 2
    assert "host" not in found
    assert not found["loihi2"].get("misfits")
    (why,) = found["loihi1"]["misfits"]
    assert why == list_misfits(graph, 2, find_chips(["loihi1"]), samples.inputs)["loihi1"][0]
    assert "code=rate" in why


def test_only_so_many_samples_are_compared_as_asked() -> None:
    config, task = replace(mnist.tiny(), compared=130, test=0), find_task("mnist")
    sizes = [
        len(stimulus.targets)
        for stimulus in task.deployment.stimuli(config, task.training.build(config), "test")
    ]
    assert sizes == [100, 30]
