"""The comparison of a source with our clock: what it finds, and what it lets pass."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from written_graphs import chain

from neuro.graph import Dense, Graph, Input
from neuro.interop.imported import (
    STIMULI,
    ComparedPopulation,
    ImportedNetwork,
    SourceRun,
    run_clock,
    verify_import,
)
from neuro.neurons import LI, DiscreteLIF


def graph(decay: float = 0.75, decay_li: float = 0.01) -> Graph:
    weight = np.random.default_rng(0).normal(0.2, 0.5, (4, 6))
    return chain(
        x=Input(shape=(6,)),
        fc=Dense(weight=weight),
        lif=DiscreteLIF(decay=decay, threshold=0.5),
        out=Dense(weight=weight[:, :4]),
        li=LI(tau=decay_li),
    )


def imported(ours: Graph, theirs: Graph) -> ImportedNetwork:
    """Return an import whose source is another Graph."""
    return ImportedNetwork(
        graph=ours,
        library="a graph",
        mapping=(),
        choices={},
        run_source=lambda inputs: run_clock(theirs, inputs),
    )


def test_a_network_equals_itself_under_every_stimulus() -> None:
    rows = verify_import(imported(graph(), graph()), ticks=16)
    assert [(r.population, r.stimulus) for r in rows] == [
        (name, s.name) for s in STIMULI for name in ("lif", "li")
    ]
    assert all(r.agrees and r.different == 0 and r.error == 0 for r in rows)
    assert all(r.spikes > 0 and r.largest > 0 for r in rows if r.population == "lif")


def test_another_decay_is_found_in_spikes_and_a_read_out_by_its_values() -> None:
    rows = verify_import(imported(graph(), graph(decay=0.7)), ticks=16)
    assert sum(r.different for r in rows if r.population == "lif") > 0
    rows = verify_import(imported(graph(), graph(decay_li=0.02)), ticks=16)
    assert {r.population for r in rows if not r.agrees} == {"li"}
    assert all(r.different == 0 for r in rows)


def test_rounding_passes_relative_to_the_largest_value_and_nan_does_not() -> None:
    row = ComparedPopulation(
        population="a", stimulus="b", spikes=9, different=0, error=1e-8, largest=100.0
    )
    assert row.agrees
    assert not replace(row, largest=1.0).agrees
    assert not replace(row, error=float("nan")).agrees
    assert not replace(row, different=1).agrees


def test_a_value_that_is_no_number_is_a_difference() -> None:
    def broken(inputs: Mapping[str, np.ndarray]) -> SourceRun:
        run = run_clock(graph(), inputs)
        return run._replace(membranes={k: v * np.nan for k, v in run.membranes.items()})

    network = replace(imported(graph(), graph()), run_source=broken)
    assert not any(r.agrees for r in verify_import(network, ticks=4))


def test_values_are_compared_in_each_sample_until_its_first_different_spike() -> None:
    def change(late: int) -> tuple[int, float]:
        """Return what a spike of tick 3 and membranes from ``late`` on differ by."""

        def source(inputs: Mapping[str, np.ndarray]) -> SourceRun:
            run = run_clock(graph(), inputs)
            run.outputs["lif"][3, 0, 0] = 1 - run.outputs["lif"][3, 0, 0]
            run.membranes["lif"][late:, 0] += 2.0
            return run

        network = replace(imported(graph(), graph()), run_source=source)
        row = verify_import(network, ticks=8, samples=2)[0]
        return row.different, row.error

    assert change(3) == (1, 0.0)
    assert change(2) == (1, 2.0)


def test_a_stimulus_of_the_user_is_compared_too() -> None:
    ones = np.ones((5, 2, 6), np.uint8)
    rows = verify_import(imported(graph(), graph()), ticks=4, given={"mine": {"x": ones}})
    (lif, _) = (r for r in rows if r.stimulus == "mine")
    assert lif.spikes == np.count_nonzero(run_clock(graph(), {"x": 1.0 * ones}).outputs["lif"])


def test_a_source_of_another_shape_is_refused() -> None:
    def cut(inputs: Mapping[str, np.ndarray]) -> SourceRun:
        run = run_clock(graph(), inputs)
        return run._replace(outputs={k: v[..., :-1] for k, v in run.outputs.items()})

    network = replace(imported(graph(), graph()), run_source=cut)
    with pytest.raises(ValueError, match=r"lif: the source has \(64, 4, 3\), the Graph"):
        verify_import(network)
