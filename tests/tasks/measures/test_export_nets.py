"""``neuro export``: files of each program for others, or every reason against them."""

from pathlib import Path

import numpy as np
import pytest
from damage import write_graded_program
from written_graphs import chain
from xylo_programs import draw_program

from lava_export import ProgramError, load_program, lower_graph, save_program
from lava_export.netx import NetxError
from neuro.graph import Dense, Graph, Input
from neuro.neurons import LIF
from neuro.neurons.reset import Reset
from tasks.measures.export import write_for_others, write_nets


def network(reset: Reset) -> Graph:
    weight = np.array([[0.5, -0.25], [1.0, 0.75]])
    return chain(x=Input(shape=(2,)), fc=Dense(weight=weight), n=LIF(tau=0.01, reset=reset))


def test_each_network_has_a_file_and_a_folder_for_others(tmp_path: Path) -> None:
    for name in ("", "-decoder"):
        lower_graph(network("soft"), 8 + len(name)).save(
            tmp_path / f"program{name}.safetensors"
        )
    xylo = draw_program(np.random.default_rng(0), "any")
    save_program(tmp_path / "program-xylo.safetensors", xylo)
    file, folder = tmp_path / "a.neup", tmp_path / "c"
    written = [tmp_path / "a-decoder.neup", file]
    assert {*write_for_others(tmp_path, "program", file)} == {f"wrote {p}" for p in written}
    assert [load_program(p).program.ticks for p in written] == [16, 8]
    assert len(write_for_others(tmp_path, "c", folder)) == 2
    assert "NET_TICKS UINT32_C(16)" in (tmp_path / "c-decoder" / "network.h").read_text()


def test_a_program_that_a_format_cannot_hold_stops_all(tmp_path: Path) -> None:
    lower_graph(network("soft"), 8).save(tmp_path / "program.safetensors")
    write_graded_program(tmp_path)
    (tmp_path / "a.safetensors").rename(tmp_path / "program-words.safetensors")
    for flag in ("program", "c"):
        with pytest.raises(ProgramError, match=rf"--{flag} cannot write:\nwords: a program of"):
            write_for_others(tmp_path, flag, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_each_program_has_a_file_and_a_line_that_loads_it(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    for name in ("program", "program-decoder"):
        lower_graph(network("hard"), 8).save(tmp_path / f"{name}.safetensors")
    first, second = write_nets(tmp_path)
    path = str(tmp_path / "program-decoder.net")
    call = (
        f"lava.lib.dl.netx.hdf5.Network(net_config={path!r}, reset_interval=8, reset_offset=1)"
    )
    assert {f"wrote {path}; {call} loads it"} <= {first, second}
    assert (tmp_path / "program.net").read_bytes()[1:4] == b"HDF"


def test_one_program_that_netx_refuses_stops_all(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    lower_graph(network("hard"), 8).save(tmp_path / "program.safetensors")
    lower_graph(network("soft"), 8).save(tmp_path / "program-decoder.safetensors")
    with pytest.raises(NetxError) as error:
        write_nets(tmp_path)
    (problem,) = error.value.problems
    assert "decoder" in problem
    assert "soft reset" in problem
    assert not list(tmp_path.glob("*.net"))
