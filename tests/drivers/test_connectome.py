"""Files of a connectome are read as they are or refused; a drawn one has their statistics."""

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from drivers import connectome
from drivers.connectome import Connectome, draw_connectome, read_connectome

IDS = (720575940596125868, 720575940597856265, 720575940597944841, 720575940598267657)
COLUMNS = {  # 2 -> 0, 0 -> 3, 0 -> 1, 3 -> 2
    "Presynaptic_Index": [2, 0, 0, 3],
    "Presynaptic_ID": [IDS[2], IDS[0], IDS[0], IDS[3]],
    "Postsynaptic_Index": [0, 3, 1, 2],
    "Postsynaptic_ID": [IDS[0], IDS[3], IDS[1], IDS[2]],
    "Excitatory x Connectivity": [-2405, 7, 12, -1],
}
CSV = ",Completed\n" + "".join(f"{one},True\n" for one in IDS)


def read(folder: Path, monkeypatch: pytest.MonkeyPatch, csv: str, **changes: Any) -> Connectome:
    """Read a file of neurons, and a table without pyarrow."""
    table = {k: np.array(changes.get(k, column)) for k, column in COLUMNS.items()}
    monkeypatch.setattr(connectome, "_read_columns", lambda _: table)
    (folder / "n.csv").write_text(csv)
    return read_connectome(folder / "n.csv", folder / "c.parquet")


def require_the_four_pairs(found: Connectome) -> None:
    ids, pairs = found
    assert ids.tolist() == [*IDS]
    assert (pairs.shape, pairs.indptr.tolist()) == ((4,), [0, 2, 2, 3, 4])
    assert (pairs.indices.tolist(), pairs.weight.tolist()) == ([1, 3, 0, 2], [12, 7, -2405, -1])
    assert pairs.weight.dtype == np.float32


def test_pairs_become_synapses_with_signed_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_the_four_pairs(read(tmp_path, monkeypatch, CSV))


def test_a_parquet_file_is_read_or_refused(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path, csv = tmp_path / "c.parquet", tmp_path / "n.csv"
    csv.write_text(CSV)
    parquet.write_table(pyarrow.table({**COLUMNS, "Excitatory": [-1, 1, 1, -1]}), path)
    require_the_four_pairs(read_connectome(csv, path))
    for change in ({"Excitatory x Connectivity": [1, None, 1, 1]}, {"Postsynaptic_ID": None}):
        columns = {k: v for k, v in {**COLUMNS, **change}.items() if v is not None}
        parquet.write_table(pyarrow.table(columns), path)
        with pytest.raises(
            ValueError, match=r"c.parquet: no table .*(float64|Postsynaptic_ID)"
        ):
            read_connectome(csv, path)
    path.write_bytes(b"PAR1 and nothing else")
    with pytest.raises(ValueError, match=r"c.parquet: no table of connections; "):
        read_connectome(csv, path)


def test_without_pyarrow_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "n.csv").write_text(CSV)
    with pytest.raises(RuntimeError, match=re.escape("pip install -e '.[connectome]'")):
        read_connectome(tmp_path / "n.csv", tmp_path / "c.parquet")


@pytest.mark.parametrize(
    ("csv", "changes", "said"),
    [
        (CSV, {"Presynaptic_Index": [2, 0, 4, 3]}, "c.parquet: Presynaptic_Index and .*n.csv;"),
        (CSV, {"Presynaptic_Index": [-2, 0, 0, 3]}, "Presynaptic_ID must name a neuron"),
        (CSV, {"Postsynaptic_Index": [0, 3, 2, 2]}, "c.parquet: Postsynaptic_Index and Posts"),
        (CSV.replace(f"{IDS[1]}", "x"), {}, "n.csv: each line must begin with an id; .*'x'"),
        (CSV.replace(f"{IDS[1]}", f"{2**63}"), {}, "n.csv: each line must begin with an id"),
        (CSV.replace(f"{IDS[1]}", f"{IDS[3]}"), {}, "n.csv: must list .*, and each once"),
        (",Completed\n", {}, "n.csv: must list at least one neuron"),
    ],
)
def test_bad_files_are_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, csv: str, changes: Any, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        read(tmp_path, monkeypatch, csv, **changes)


@given(st.integers(0, 2**32), st.integers(2, 60), st.floats(0, 1))
def test_a_drawn_connectome_has_each_pair_once_and_one_sign_per_source(
    seed: int, neurons: int, share: float
) -> None:
    pairs = int(share * (neurons * (neurons - 1) // 10))
    found, again = (draw_connectome(seed, neurons, pairs).connections for _ in range(2))
    assert (found.indices.size, found.shape, found.input_length) == (pairs, (neurons,), neurons)
    assert len({*zip(found.source.tolist(), found.indices.tolist(), strict=True)}) == pairs
    assert (found.source != found.indices).all()
    assert (found.weight == np.rint(found.weight)).all()
    assert found.weight.all()
    assert len({*zip(found.source, np.sign(found.weight), strict=True)}) == len({*found.source})
    assert np.array_equal(again.indices, found.indices)
    assert np.array_equal(again.weight, found.weight)


def test_a_drawn_connectome_has_the_published_statistics() -> None:
    n, pairs = 20_000, 600_000
    ids, found = draw_connectome(3, n, pairs)
    count, out = np.abs(found.weight), np.diff(found.indptr)
    assert ids.tolist() == [*range(n)]
    assert float((count >= 2).mean()) == pytest.approx(0.5033, abs=0.003)
    assert float((count >= 5).mean()) == pytest.approx(0.1789, abs=0.003)
    assert float(count.mean()) == pytest.approx(3.65, abs=0.05)
    excites = found.weight[found.indptr[:-1][out > 0]] > 0
    assert float(excites.mean()) == pytest.approx(0.6003, abs=0.014)  # 4 standard deviations
    for degree in (out, np.bincount(found.indices, minlength=n)):
        spread = float((degree.astype(float) ** 2).mean()) / 30**2
        assert spread == pytest.approx(np.exp(1.2**2), abs=0.7)
    assert not np.array_equal(draw_connectome(4, n, pairs).connections.indices, found.indices)


@pytest.mark.parametrize("pairs", [-1, 10])
def test_more_pairs_than_a_tenth_are_refused(pairs: int) -> None:
    assert draw_connectome(1, 10, 9).connections.indices.size == 9
    with pytest.raises(ValueError, match=rf"pairs is {pairs}; it must be from 0 to 9, a tenth"):
        draw_connectome(1, 10, pairs)
