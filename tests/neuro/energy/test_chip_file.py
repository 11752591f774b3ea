import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from energy_cases import record_of
from written_graphs import chain

from neuro.energy import (
    Chip,
    ChipError,
    Range,
    chip_file,
    estimate,
    estimate_chips,
    find_chip,
    load_chips,
    make_chip_table,
    read_chip,
    tabulate_constants,
)
from neuro.graph import Dense, Graph, Input
from neuro.neurons import LI, LIF
from neuro.spikes.record import Record

LOIHI1 = (chip_file.FOLDER / "loihi1.toml").read_text()


def write(path: Path, *changes: tuple[str, str]) -> Path:
    """Write the file of Loihi 1 with lines changed."""
    text = LOIHI1
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path.write_text(text)
    return path


def problems_of(path: Path) -> list[str]:
    with pytest.raises(ChipError) as e:
        read_chip(path)
    assert str(e.value).startswith(f"{path} describes no chip:\n")
    return e.value.problems


def network() -> tuple[Graph, Record]:
    graph = chain(
        x=Input(shape=(3,)),
        w1=Dense(weight=np.ones((4, 3))),
        hidden=LIF(tau=0.01),
        w2=Dense(weight=np.ones((2, 4))),
        out=LI(tau=0.01),
    )
    rng = np.random.default_rng(0)
    return graph, record_of(x=rng.random((5, 1, 3)) < 0.5, hidden=rng.random((5, 1, 4)) < 0.5)


def test_a_copy_with_one_constant_doubled_changes_exactly_the_terms_of_that_constant(
    tmp_path: Path,
) -> None:
    synapse = 'synapse = { nominal = 23.6, low = 23.6, high = 35.5, unit = "pJ"'
    doubled = 'synapse = { nominal = 47.2, low = 47.2, high = 71.0, unit = "pJ"'
    chip = find_chip(str(write(tmp_path / "mine.toml", (synapse, doubled))))
    assert (chip.name, chip.title) == ("mine", "Loihi 1 (Davies 2018)")
    graph, record = network()
    old, new = estimate(graph, record, find_chip("loihi1")), estimate(graph, record, chip)
    for layer, parts in old.parts.items():
        for part, x in parts.items():
            assert new.parts[layer][part] == (x * 2 if part == "synapse" else x)
    more = sum(parts["synapse"].nominal for parts in old.parts.values())
    assert more > 0
    assert new.core.nominal == pytest.approx(old.core.nominal + more, rel=1e-14)
    assert (new.static, new.latency, new.placement) == (old.static, old.latency, old.placement)


def test_a_file_with_a_base_needs_no_title_and_no_description(tmp_path: Path) -> None:
    path, base = tmp_path / "warm.toml", find_chip("loihi2")
    path.write_text('base = "loihi2"\n')
    same = {"name": "warm", "base": "loihi2", "title": "Loihi 2 (range): warm"}
    assert read_chip(path) == replace(base, **same)
    path.write_text('base = "loihi2"\ndescription = "A guess."\n')
    assert read_chip(path) == replace(base, **same, description="A guess.")
    path.write_text('base = "loihi2"\ntitle = 2\ndescription = ""\n')
    assert problems_of(path) == [
        "description: is empty; write it",
        "title: is 2, expected text",
    ]


def test_the_host_of_a_chip_may_have_no_nominal_power(tmp_path: Path) -> None:
    old = "nominal = 0.081, low = 0.0, high = 0.081"
    new = 'nominal = "not published", low = 0.5, high = 3.0'
    host = read_chip(write(tmp_path / "mine.toml", (old, new))).power.host
    assert type(host) is Range
    assert (host.low, host.high, host.unit, host.confidence) == (0.5, 3.0, "W", "memory")


def test_a_file_with_a_base_gives_only_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "leaky.toml"
    path.write_text(
        'base = "loihi2"\ntitle = "Loihi 2, warm"\ndescription = "A guess."\n'
        '[origins.guess]\nprocess = "Intel 4"\ncondition = "85 C"\nsource = "none, a guess"\n'
        'confidence = "assumed"\n'
        '[power]\nstatic = { nominal = 400, spread = 0.5, unit = "mW", origin = "guess" }\n'
    )
    chip, base = read_chip(path), find_chip("loihi2")
    static = chip.power.static
    assert (static.low, static.value, static.high) == (0.2, 0.4, pytest.approx(0.6))
    assert (static.unit, static.source, static.confidence) == ("W", "none, a guess", "assumed")
    own = {name: getattr(chip, name) for name in ("name", "base", "title", "description")}
    assert chip == replace(base, **own, power=replace(base.power, static=static))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of chips that tests may fill, in place of that of the package."""
    for path in chip_file.FOLDER.glob("*.toml"):
        (tmp_path / path.name).write_text(path.read_text())
    monkeypatch.setattr(chip_file, "FOLDER", tmp_path)
    return tmp_path


def test_a_new_chip_is_one_more_file_and_nothing_else(folder: Path) -> None:
    write(folder / "thirds.toml", ('title = "Loihi 1 (Davies 2018)"', 'title = "Thirds"'))
    assert list(load_chips()) == ["loihi1", "loihi1_sanafe", "loihi2", "thirds"]
    graph, record = network()
    assert [e.chip.title for e in estimate_chips(graph, record)][-1] == "Thirds"
    assert "## Thirds\n" in make_chip_table()
    with pytest.raises(ValueError, match="there are loihi1, loihi1_sanafe, loihi2, thirds, or"):
        find_chip("fourths")


def test_no_source_file_lists_the_chips() -> None:
    root = Path(chip_file.__file__).parents[2]
    lists = re.compile(r"loihi1\W+(loihi1_sanafe\W+)?loihi2\b", re.IGNORECASE)
    for package in ("neuro", "tasks", "lava_export"):
        for path in (root / package).rglob("*.py"):
            assert not lists.search(path.read_text()), path


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("[time]", "[times]"), "times: there is no key 'times'; there are origins, title"),
        (('title = "Loihi 1 (Davies 2018)"', ""), "title: is missing"),
        (("programmable = false", 'programmable = "no"'), "programmable: is 'no'"),
        (('condition = "0.75 V, SPICE"\n', ""), "origins.paper.condition: is missing"),
        (
            ('82-99; range: SANA-FE 2.2.9, loihi.yaml"\nconfidence = "memory"',
             '82-99"\nconfidence = "rumour"'),
            "origins.paper.confidence: is 'rumour', expected one of 'measured', 'published'",
        ),
        (("hop_x = {", "hop_z = {"), "energy.hop_z: there is no such field; there are synapse"),
        (("hop_x = {", "hop_z = {"), "energy.hop_x: is missing"),
        (("nominal = 71.6", "value = 71.6"), "energy.crossing.nominal: is missing"),
        (("nominal = 71.6", "value = 71.6"), "energy.crossing.value: there is no such field; "),
        (
            ("nominal = 71.6, low = 8.0", "nominal = 7.6, low = 8.0"),
            "energy.crossing: low 8, nominal 7.6 and high 640 are not in order; widen the",
        ),
        (("nominal = 71.6", "nominal = -71.6"), "energy.crossing.nominal: is -71.6; give a"),
        (("high = 640.0", "high = inf"), "energy.crossing.high: is inf; give a number >= 0"),
        (("high = 640.0", "high = nan"), "energy.crossing.high: is nan; give a number >= 0"),
        (("nominal = 71.6", 'nominal = "not published"'),
         "energy.crossing.nominal: is 'not published', expected a number"),
        (("high = 640.0", 'high = "640"'), "energy.crossing.high: is '640', expected a number"),
        (
            ('high = 640.0, unit = "pJ"', 'high = 640.0, unit = "ns"'),
            "energy.crossing.unit: there is no unit 'ns'; there are J, mJ, uJ, nJ, pJ, fJ",
        ),
        (
            ('unit = "pJ", origin = "bus"', 'unit = "pJ", origin = "buses"'),
            "energy.crossing.origin: there is no origin 'buses'; there are paper, spike",
        ),
        (('{ value = 1024, unit = "neurons", origin = "core" }', "1024"),
         "limits.neurons: is 1024, expected an object of value, unit, origin"),
        (("value = 1024", "value = 1024.5"), "limits.neurons.value: is 1024.5; give a whole"),
        (("value = 1024", "value = inf"), "limits.neurons.value: is inf; give a whole number"),
        (("value = 1024", "value = 0"), "limits.neurons.value: is 0.0; give a whole number"),
        (('value = 1024, unit = "neurons"', 'value = 1024, unit = "mneurons"'),
         "limits.neurons.unit: there is no unit 'mneurons'; there are neurons"),
        (("nominal = 0.081, low = 0.0", 'nominal = "much", low = 0.0'),
         "power.host.nominal: is 'much', expected float or 'not published'"),
        (("nominal = 0.081, low = 0.0, high = 0.081",
          'nominal = "not published", low = 2.0, high = 1.0'),
         "power.host: low 2, nominal not published and high 1 are not in order; widen the"),
        (("nominal = 0.081, low = 0.0, high = 0.081",
          'nominal = "not published", spread = 0.1'),
         "power.host.spread: there is no such field; there are nominal, low, hig"),
        (('value = 1024, unit = "neurons"', 'value = 1024, unit = "cells"'),
         "limits.neurons.unit: there is no unit 'cells'; there are neurons"),
        (("tiles = 32, value", "tiles = 0, value"), "barrier[1].tiles: is 0; give a whole"),
        (("tiles = 32, value", "tiles = 1, value"), "barrier: tiles and times do not grow"),
        (("value = 113e-9", "value = 466e-9"), "barrier: tiles and times do not grow"),
        (
            ("value = 465e-9", "value = 465e-8"),
            "barrier: 1.13e-07 to 4.65e-06 s are not within time.sync, 1.13e-07 to 1.8e-06 s; ",
        ),
        (('hardware = "Loihi 1"', 'hardware = "Loihi 1"\nbase = "loihi1_sanafe"'),
         "base: there is no chip with constants of its own 'loihi1_sanafe'; there are loihi1"),
        (("[power]\n", "[[power]]\n"), "power: is [{'static': "),
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused_with_the_place_and_the_cure(
    tmp_path: Path, change: tuple[str, str], told: str
) -> None:
    found = problems_of(write(tmp_path / "mine.toml", change))
    assert any(problem.startswith(told) for problem in found), found


def test_a_chip_without_a_barrier_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.toml", ("barrier = [", "barrier = []\n[unused]\nold = ["))
    text = path.read_text()
    start = text.index("[unused]")
    path.write_text(text[:start] + text[text.index("[origins.paper]") :])
    assert problems_of(path) == ["barrier: is empty; give its time among one tile at least"]


def test_a_spread_beyond_all_of_a_value_reaches_down_to_nothing() -> None:
    assert chip_file.convert_range({"nominal": 2.0, "spread": 0.25}) == (1.5, 2.0, 2.5)
    assert chip_file.convert_range({"nominal": 2.0, "spread": 1.5}) == (0.0, 2.0, 5.0)


def test_every_problem_of_a_file_is_told_at_once(tmp_path: Path) -> None:
    path = write(
        tmp_path / "mine.toml",
        ("programmable = false", "clever = true"),
        ("nominal = 71.6", "nominal = 7.6"),
        ('high = 640.0, unit = "pJ"', 'high = 640.0, unit = "ps"'),
        ('high = 0.081, unit = "W"', 'high = 0.081, unit = "V"'),
        ("cores = { value = 128", "cores = { value = -128"),
        ("delay_steps = {", "# delay_steps = {"),
        ("nominal = 465.0, low = 113.0, ", "nominal = 465.0, "),
    )
    found = problems_of(path)
    write_it = 'is missing; write it, or name a base, as in base = "loihi1"'
    assert [problem for problem in found if "name a base" in problem] == [
        f"programmable: {write_it}",
        f"limits.delay_steps: {write_it}",
    ]
    assert [problem.split(";")[0] for problem in found] == [
        "clever: there is no key 'clever'",
        "energy.crossing: low 8, nominal 7.6 and high 640 are not in order",
        "energy.crossing.unit: there is no unit 'ps'",
        "time.sync.low: is missing",
        "power.host.unit: there is no unit 'V'",
        "limits.cores.value: is -128.0",
        "programmable: is missing",
        "limits.delay_steps: is missing",
    ]


def test_an_empty_file_lacks_every_value(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("")
    values = sum(len(vars(x)) for x in constants_by_table(find_chip("loihi1")).values())
    assert len(problems_of(path)) == values + 6  # title, description, hardware, ..., barrier


def constants_by_table(chip: Chip) -> Mapping[str, object]:
    return {name: getattr(chip, name) for name in chip_file.TABLES}


def test_what_is_no_toml_is_told_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("title = \n")
    (told,) = problems_of(path)
    assert told.startswith("it is not TOML: Invalid value (at line 1, column 9); mend that")
    path.write_bytes(b"\xff")
    assert problems_of(path)[0].startswith("it is not TOML: 'utf-8' codec")


def test_a_chip_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    for name in ("loihi3", str(tmp_path)):
        with pytest.raises(ValueError, match=r"no chip .*; there are loihi1, .* or give the"):
            find_chip(name)
    with pytest.raises(ValueError, match=r"nothing\.toml: no such file; .* chips loihi1, .*"):
        find_chip(str(tmp_path / "nothing.toml"))
    path = write(tmp_path / "loihi1.toml")
    with pytest.raises(ValueError, match=r"loihi1\.toml: there is a chip loihi1 already"):
        find_chip(str(path))
    assert find_chip(str(chip_file.FOLDER / "loihi1.toml")) == find_chip("loihi1")


@pytest.mark.parametrize("chip", load_chips().values(), ids=lambda c: c.name)
def test_the_printed_table_has_a_row_of_text_for_every_constant(chip: Chip) -> None:
    rows = tabulate_constants(chip)
    values = sum(len(vars(x)) for x in constants_by_table(chip).values())
    assert len(rows) == values + len(chip.barrier)
    assert all(isinstance(x, str) and x for row in rows for x in row.values())
    json.dumps(rows, allow_nan=False)


def test_the_printed_table_shows_picojoules_and_ranges() -> None:
    row = tabulate_constants(find_chip("loihi1"))[0]
    told = {"name": "energy.synapse", "value": "23.6", "range": "23.6 .. 35.5", "unit": "pJ"}
    assert told.items() <= row.items()


def test_the_markdown_has_a_table_of_eight_columns_for_each_chip() -> None:
    text = make_chip_table()
    assert [x for x in text.splitlines() if x.startswith("## ")] == [
        "## Loihi 1 (Davies 2018)",
        "## Loihi 1 (SANA-FE)",
        "## Loihi 2 (range)",
    ]
    rows = [x for x in text.splitlines() if x.startswith("|")]
    assert {row.count("|") for row in rows} == {9}
    constants = sum(len(tabulate_constants(chip)) for chip in load_chips().values())
    assert len(rows) == constants + 2 * 3
    assert "| host | not published | 0 .. 2.26 | W | Intel 4 |" in text
    assert "| limit.in_axons | not known | not known | axons | Intel 4 | unknown |" in text
