"""The price of a token on a chip: shapes, steps and the constants of a chip file."""

from collections import Counter
from dataclasses import replace

import pytest
from small_language import make_small

from lava_export.graded import lower_graded
from neuro.energy import find_chip
from tasks.language.config import LanguageConfig, matmulfree_370m
from tasks.language.model import LanguageModel
from tasks.language.price import (
    CorePlan,
    TernarySynapses,
    TokenStep,
    describe_token,
    map_by_blocks,
    map_by_memory,
    measure_token,
    price_token,
    send_all,
    tabulate_prices,
)

CHIP = find_chip("loihi2")
SMALL = LanguageConfig(stack="mlgru*2", width=16, hidden=24, linear="spiking", vocabulary=11)
ONE = TokenStep(
    synapses=(
        TernarySynapses(name="a", step=0, sources=10, targets=8, sending=0.5, nonzero=0.75),
        TernarySynapses(name="b", step=1, sources=8, targets=6, sending=0.5, nonzero=0.5),
    ),
    updates=(30, 600, 6),
    normed=(10, 8, 0),
    norms=(2, 1, 0),
)
PLAN = CorePlan(cores={"a": 2, "b": 1}, chips=1)


def test_a_token_asks_what_its_program_does() -> None:
    token, program = describe_token(SMALL), lower_graded(make_small().graph)
    updates, normed = Counter[int](), Counter[int]()
    for g in program.groups:
        updates[g.lag] += g.size if g.kind not in ("input", "synapses", "join") else 0
        normed[g.lag] += g.size if g.kind == "norm" else 0
    steps = range(program.latency + 1)
    assert token.updates == tuple(updates[k] for k in steps)
    assert token.normed == tuple(normed[k] for k in steps)
    assert token.norms == (2, 2, 2, 1) * 2 + (2, 0)
    made = {s.name: (s.targets, s.sources, s.step + 1) for s in token.synapses}
    assert made == {
        g.name.removesuffix("_synapses"): (*g.array.shape, g.lag)
        for g in program.groups
        if g.kind == "synapses"
    }


def test_energy_is_events_updates_messages_and_leakage() -> None:
    found = price_token(ONE, CHIP, PLAN)

    def add_up(end: str, a: float, b: float, across: float, along: float) -> float:
        """Return joules; a, b: share of weights that count. across, along: hops of a spike."""
        cost = {name: getattr(part, end) for name, part in vars(CHIP.energy).items()}
        events = 10 * 0.5 * 8 * a + 8 * 0.5 * 6 * b
        hops = across * cost["hop_x"] + along * cost["hop_y"]
        return float(
            (events + 2 * 18) * cost["synapse"]
            + (30 + 600 + 6) * cost["active"]
            + (5 * 2 + 4 * 1) * (cost["message"] + hops)
            + 2 * 18 * cost["message"]
        )

    core = add_up("value", 0.75, 0.5, 8 / 3, 4 / 3)  # 30 tiles in columns of 4
    assert found.core.nominal == pytest.approx(core, rel=1e-12)
    assert found.core.low == pytest.approx(add_up("low", 0.75, 0.5, 0, 0), rel=1e-12)
    assert found.core.high == pytest.approx(add_up("high", 1, 1, 8, 4), rel=1e-12)
    leak = CHIP.power.static.value
    for total, seconds in (
        (found.prefill, found.prefill_seconds),
        (found.generation, found.generation_seconds),
    ):
        assert total.nominal == pytest.approx(core + leak * seconds.nominal, rel=1e-12)
        assert total.low < total.nominal < total.high
    both = price_token(ONE, CHIP, replace(PLAN, chips=2))
    crossings = (5 + 4) * CHIP.energy.crossing.value
    assert both.core.nominal == pytest.approx(core + crossings, rel=1e-12)


def test_a_pipeline_waits_for_its_slowest_step_and_a_token_for_all() -> None:
    t, barrier = CHIP.time, CHIP.barrier[-1].time.value
    served = 5 * 4 * 0.75 * t.synapse.value + 5 * t.message.value
    steps = [
        max(30 / 2 * t.active.value, served),
        600 / 2 * t.active.value,  # on the cores of the synapses that reach them
        6 / 1 * t.active.value,
    ]
    found = price_token(ONE, CHIP, PLAN)
    waits = 3 + 2 * 3  # three steps, and two more for each norm
    assert found.generation_seconds.nominal == pytest.approx(
        sum(steps) + waits * barrier, rel=1e-12
    )
    assert found.prefill_seconds.nominal == pytest.approx(max(steps) + barrier, rel=1e-12)


def test_synapses_take_as_long_as_those_of_the_fullest_core() -> None:
    idle, uneven = replace(ONE, updates=(0, 0, 0)), replace(PLAN, cores={"a": 3, "b": 1})
    found = price_token(idle, CHIP, uneven).generation_seconds

    def add_up(end: str, a: float, b: float, barrier: float) -> float:
        """Return seconds; a, b: share of weights that count."""
        synapse, message = (getattr(t, end) for t in (CHIP.time.synapse, CHIP.time.message))
        served = (5 * 3 * a + 4 * 6 * b) * synapse + (5 + 4) * message  # 8 targets, 3 per core
        return float(served + (3 + 2 * 3) * barrier)

    nominal = add_up("value", 0.75, 0.5, CHIP.barrier[-1].time.value)
    assert found.nominal == pytest.approx(nominal, rel=1e-12)
    assert found.high == pytest.approx(add_up("high", 1, 1, CHIP.time.sync.high), rel=1e-12)


def test_cores_hold_as_many_rows_as_their_memory() -> None:
    plan = map_by_memory(describe_token(matmulfree_370m()), CHIP)
    # Each of 1,024 sources has 35 targets of 20 bits, 11 words of 64 bits: 11,264 words.
    assert plan.cores["block0_gate"] == 30  # 1,024 neurons
    assert plan.cores["block23_down"] == 86  # 2,816 sources: 12 neurons per core
    assert plan.chips == 82
    assert sum(plan.cores.values()) == 24 * (4 * 30 + 2 * 81 + 86) + plan.cores["logits"]


def test_a_block_a_chip_shares_its_cores_by_weights() -> None:
    config = matmulfree_370m()
    token = describe_token(config)
    weights = sum(s.sources * s.targets for s in token.synapses)
    d, h = config.width, config.hidden
    assert weights == 24 * (4 * d * d + 3 * d * h) + d * 32_000
    plan = map_by_blocks(token, 24, CHIP)
    assert plan.chips == 25
    own = [n for name, n in plan.cores.items() if name.startswith("block7_")]
    assert own == [9, 9, 9, 9, 26, 26, 26]
    assert plan.cores["logits"] == 120


def test_the_table_puts_measurements_beside_what_is_computed() -> None:
    token = describe_token(SMALL)
    layers = {
        f"{s.name}_synapses": {
            "synaptic_events_all": 0.25 * 7 * s.sources * s.targets,
            "synaptic_events": 0.125 * 7 * s.sources * s.targets,
        }
        for s in token.synapses
    }
    energy = {"loihi2": {"ticks": 7, "layers": layers}}
    own = measure_token(SMALL, energy)
    assert {(s.sending, s.nonzero) for s in own.synapses} == {(0.25, 0.5)}
    (table,) = tabulate_prices(SMALL, LanguageModel(SMALL), energy)
    assert len(table.rows) == 5
    assert table.rows[-1][3:5] == ["70.8", "59.4"]
    assert not [cell for row in table.rows for cell in row if "e+" in cell]
    assert table.caption.startswith("An inference of the tables of energy is 7 tokens, a row")
    small = price_token(own, CHIP, map_by_memory(own, CHIP))
    rate = float(table.rows[0][8].replace(",", ""))
    assert rate == pytest.approx(1 / small.prefill_seconds.nominal, rel=1e-3)
    assert rate > 1e5
    assert "," in table.rows[0][8]
    big = describe_token(matmulfree_370m())
    blocks = map_by_blocks(big, 24, CHIP)
    every = send_all(big)
    assert {s.sending for s in every.synapses} == {1.0}
    for row, token in ((table.rows[3], every), (table.rows[2], big)):
        price = price_token(token, CHIP, blocks)
        assert float(row[3]) == pytest.approx(price.generation.nominal * 1e3, rel=1e-2)
        assert float(row[4]) == pytest.approx(1 / price.generation_seconds.nominal, rel=1e-3)
        leak = 25 * CHIP.power.static.value * price.generation_seconds.nominal
        assert row[6] == f"{leak / price.generation.nominal:.0%}" == "89%"
    assert table.rows[3][3:5] == ["53.5", "121.4"]
    assert f"energy x {float(row[3]) / 70.8:.2g}, speed x {float(row[4]) / 59.4:.2g}" in (
        table.caption
    )
