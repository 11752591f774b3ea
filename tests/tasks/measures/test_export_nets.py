"""``neuro export --net``: a file for netx beside each program, or every reason against it."""

from pathlib import Path

import numpy as np
import pytest
from written_graphs import chain

from lava_export import lower_graph
from lava_export.netx import NetxError
from neuro.graph import Dense, Graph, Input
from neuro.neurons import LIF
from neuro.neurons.reset import Reset
from tasks.measures.export import write_nets

pytest.importorskip("h5py")


def network(reset: Reset) -> Graph:
    weight = np.array([[0.5, -0.25], [1.0, 0.75]])
    return chain(x=Input(shape=(2,)), fc=Dense(weight=weight), n=LIF(tau=0.01, reset=reset))


def test_each_program_has_a_file_and_a_line_that_loads_it(tmp_path: Path) -> None:
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
    lower_graph(network("hard"), 8).save(tmp_path / "program.safetensors")
    lower_graph(network("soft"), 8).save(tmp_path / "program-decoder.safetensors")
    with pytest.raises(NetxError) as error:
        write_nets(tmp_path)
    (problem,) = error.value.problems
    assert "decoder" in problem
    assert "soft reset" in problem
    assert not list(tmp_path.glob("*.net"))
