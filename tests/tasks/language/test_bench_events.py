"""The bench of events, bits and joules: its arms, its figures by hand, its picture."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure

from neuro.base.seeds import seeded
from neuro.nn.ternary import BitLinear, LearnedCount, SpikeCount
from tasks.bench.experiment import make_rows
from tasks.language import bench_events as bench
from tasks.language.bench_events import (
    BITS,
    METRICS,
    add_maxima,
    draw,
    list_experiments,
    measure_events,
    price_events,
    price_products,
)
from tasks.language.config import LanguageConfig
from tasks.language.model import LanguageModel
from tasks.language.price import TernarySynapses, TokenStep, describe_token

SMALL = LanguageConfig(stack="mlgru*2", width=8, hidden=12, linear="spiking", vocabulary=256)


def test_arms_differ_in_what_maps_read_and_are_trained_alike() -> None:
    part, larger = list_experiments(quick=False).values()
    kinds = [config.linear for config in part.arms.values()]
    assert kinds == ["spiking"] * 10 + ["ternary"] * 6 + ["int8"] * 2
    for name, config in part.arms.items():
        assert (config.steps, config.tokens, config.lanes, config.lr) == (
            *(400, 128, 12),
            2e-3 if config.linear == "int8" else 4e-3,
        )
        small = {"0.75 of": (48, 132), "0.5 of": (32, 88)}.get(
            name.split(", ")[-1][:-10], (64, 176)
        )
        assert (config.width, config.hidden) == small
        assert config.learns_threshold == ("learned" in name)
    given = {a.partition(": ")[2]: (c.bits, c.ticks, c.threshold) for a, c in part.arms.items()}
    assert given["4 bits, 0.75 of the width"] == (4, 4, 0.75)
    assert given["2 bits"] == (2, 4, 0.75)
    assert given["learned, 1 tick"] == (8, 1, 0.75)
    assert given["learned, 7 ticks"] == (8, 7, 0.5)
    assert given["learned, 127 ticks"] == (8, 127, 2**-4)
    assert given["threshold 1.5"] == (8, 4, 1.5)
    penalties = {name: c.event_penalty for name, c in part.arms.items() if c.event_penalty}
    assert penalties == {
        "spikes: threshold 0.75, penalty 0.4": 0.4,
        "spikes: learned, penalty 0.4": 0.4,
        "spikes: learned, penalty 1.5": 1.5,
    }
    assert part.seeds == (0,)
    assert set(part.further.values()) == {(1, 2)}
    assert set(part.further) <= set(part.arms)
    assert part.baseline == "graded: 8 bits"
    for name, config in larger.arms.items():
        sizes = {"stack": "mlgru*4", "width": 96, "hidden": 264}
        if "0.75 of" in name:
            sizes |= {"width": 72, "hidden": 200}
        alike = part.arms[name.replace(", 0.75 of the width", "")]
        assert config == replace(alike, **sizes)
    assert list(larger.arms) == [
        *("spikes: threshold 0.75", "spikes: threshold 0.75, penalty 0.4"),
        *("graded: 8 bits", "graded: 4 bits", "graded: 8 bits, 0.75 of the width"),
    ]
    assert not larger.further
    for quick in list_experiments(quick=True).values():
        assert {c.steps for c in quick.arms.values()} == {4}
        assert not quick.further


def test_events_are_the_inputs_sent_times_the_weights_that_are_not_zero(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with seeded(4), torch.no_grad():
        model = LanguageModel(SMALL).eval()
        for k, layer in enumerate(m for m in model.modules() if isinstance(m, BitLinear)):
            layer.quantise = SpikeCount(3, 0.5 + 0.25 * (k % 3))
            layer.gain += 0.2 * k
        given = [torch.randint(256, (5, 3)), torch.randint(256, (4, 3))]
    due = [x.clone() for x in given]
    due[1][2:, 1] = bench.NOTHING  # two tokens behind the end of a text
    pairs = [(x, y) for x, y in zip(given, due, strict=True)]
    monkeypatch.setattr(bench, "batches", lambda *_: iter([*pairs]))
    found = {s.name: s for s in measure_events(SMALL, model).synapses}
    sent, state = dict[BitLinear, list[torch.Tensor]](), None

    def keep(layer: BitLinear, x: tuple[torch.Tensor], _: torch.Tensor) -> None:
        n = x[0] / (x[0].square().mean(-1, keepdim=True) + layer.eps).sqrt() * layer.gain
        sent.setdefault(layer, []).append(
            (n.abs() / layer.quantise.threshold + 0.5).floor() > 0
        )

    for layer in (m for m in model.modules() if isinstance(m, BitLinear)):
        layer.register_forward_hook(keep)
    with torch.no_grad():
        for x in given:
            _, state = model(x, state)
    block = model.blocks[1]
    for name, layer, half in (
        ("block1_candidate", block.mixer.candidate, slice(None)),  # type: ignore[union-attr]
        ("block1_up_gate", block.up, slice(12)),
        ("block1_up_value", block.up, slice(12, None)),
        ("block0_down", model.blocks[0].down, slice(None)),
        ("logits", model.head, slice(None)),
    ):
        assert isinstance(layer, BitLinear)
        read = [y != bench.NOTHING for y in due]
        rate = torch.cat([s[r] for s, r in zip(sent[layer], read, strict=True)])
        assert len(rate) == 15 + 10
        weight = layer.weight[half].detach()
        used = (weight.abs() / layer.weight.detach().abs().mean()).round() > 0
        events = float((rate.double() @ used.double().T).sum()) / 25
        s = found[name]
        assert s.sending == pytest.approx(float(rate.double().mean()))
        assert s.sources * s.targets * s.sending * s.nonzero == pytest.approx(events)
        assert 0.05 < s.sending < 0.97
        assert s.nonzero < 0.9


def make_token() -> TokenStep:
    """Return a token of two steps, with an up map whose halves read the same counts."""

    def part(name: str, step: int, sources: int, sending: float) -> TernarySynapses:
        return TernarySynapses(
            name=name, step=step, sources=sources, targets=8, sending=sending, nonzero=0.75
        )

    return TokenStep(
        synapses=(
            part("a_up_gate", 0, 10, 0.5),
            part("a_up_value", 0, 10, 0.5),
            part("b", 1, 16, 0.25),
        ),
        updates=(30, 60, 6),
        normed=(10, 0, 8),
        norms=(2, 0, 1),
    )


def test_a_maximum_is_one_more_norm_of_each_input_that_is_read() -> None:
    found = add_maxima(make_token())
    assert (found.normed, found.norms) == ((20, 16, 8), (3, 1, 1))
    assert (found.updates, found.synapses) == (make_token().updates, make_token().synapses)


def test_a_row_by_hand() -> None:
    token = make_token()
    found = price_events(SMALL, token)
    sent = 10 * 8 * 0.5 * 2 + 16 * 8 * 0.25
    assert found["events_per_token"] == pytest.approx(sent * 0.75 / 1e3)
    assert found["inputs_sent"] == pytest.approx(sent / (10 * 8 * 2 + 16 * 8))
    assert found["int8_45_nm"] == pytest.approx(sent * 0.75 * 0.03 / 1e3)
    assert found["float32_45_nm"] == pytest.approx(sent * 0.75 * 0.9 / 1e3)
    dense = price_events(SMALL, token, products=True)
    assert dense["int8_45_nm"] == pytest.approx(sent * 0.75 * (0.2 + 0.03) / 1e3)
    assert dense["float32_45_nm"] == pytest.approx(sent * 0.75 * (3.7 + 0.9) / 1e3)
    bytewise = replace(SMALL, linear="ternary")
    assert price_events(bytewise, token)["core_energy"] > found["core_energy"]
    for total, leak in (
        ("generation_energy", "leakage_of_generation"),
        ("prefill_energy", "leakage_of_prefill"),
    ):
        core = found[total] * (1 - found[leak])
        assert core == pytest.approx(found["core_energy"])
    assert found["generation_energy"] > found["prefill_energy"]
    assert {*found} == {m.name for m in METRICS} - {BITS.name}


def test_the_products_of_a_transformer_are_its_maps_and_half_a_window_of_attention() -> None:
    config = replace(SMALL, stack="softmax*2", linear="int8", tokens=21)
    found = price_products(config, LanguageModel(config))
    maps = 2 * (4 * 8 * 8 + 2 * 12 * 8 + 12 * 8) + 256 * 8
    attention = 2 * 2 * 8 * 11  # scores and values of (21 + 1) / 2 tokens before and at it
    assert found["int8_45_nm"] == pytest.approx((maps + attention) * 0.23 / 1e3)
    assert found["float32_45_nm"] == pytest.approx((maps + attention) * 4.6 / 1e3)


def test_learned_thresholds_are_counted_as_they_fire(monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(SMALL, learns_threshold=True)
    with seeded(1):
        model = LanguageModel(config).eval()
        x = torch.randint(256, (6, 2))
    rates = []
    for log in (-2.0, 0.5):
        for m in model.modules():
            if isinstance(m, LearnedCount):
                torch.nn.init.constant_(m.log_threshold, log)
        monkeypatch.setattr(bench, "batches", lambda *_: iter([(x, x)]))
        rates.append(measure_events(config, model).synapses[0].sending)
    assert rates[1] < rates[0] < 1
    names = [s.name for s in measure_events(config, model).synapses]
    assert names == [s.name for s in describe_token(config).synapses]


def test_the_picture_shows_each_arm_and_joins_those_that_none_of_its_kind_beats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, larger = list_experiments(quick=True).values()
    reached = {"metrics": [m.name for m in METRICS], **{m.name: 9.0 for m in METRICS}}
    events = {  # arm of the small size -> events, bits
        "spikes: learned": (3.0, 2.5),
        "spikes: threshold 1.5": (2.0, 2.75),
        "spikes: learned, 1 tick": (2.5, 3.5),
        "graded: 8 bits": (4.0, 2.25),
    }
    dense = {"dense": {"events_per_token": 8.0, "bits_per_byte": 2.25}}
    results = {
        (arm, 0): {
            **reached,
            "variants": dense if arm == "graded: 8 bits" else {},
            "events_per_token": events.get(arm, (9.0, 9.0))[0],
            "bits_per_byte": events.get(arm, (9.0, 9.0))[1],
        }
        for arm in small.arms
    }
    beside = {(arm, 0): {**reached, "variants": {}} for arm in larger.arms}
    rows = [*make_rows("small", small, results), *make_rows("larger", larger, beside)]
    shown = list[Figure]()
    monkeypatch.setattr(bench, "save_png", lambda figure, _: shown.append(figure))
    draw(rows, tmp_path / "x.png")
    first, *_ = shown[0].axes
    lines = [(line.get_linestyle(), line.get_xydata().tolist()) for line in first.lines]  # type: ignore[union-attr]
    assert lines[1] == ("-", [[2.0, 2.75], [3.0, 2.5]])
    assert [2.5, 3.5] in lines[0][1]
    assert lines[3] == ("--", [[9.0, 9.0], [9.0, 9.0]])
    assert lines[5] == ("-", [[4.0, 2.25]])
    assert lines[8] == ("None", [[8.0, 2.25]])
    assert first.get_xlabel() == "events per token [thousand]"
