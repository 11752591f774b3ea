"""neuro.interop.nir.read of bad files: every problem is listed, nothing of a file is run."""

import zlib

import numpy as np
import pytest

pytest.importorskip("h5py")
pytest.importorskip("nir")
import h5py
import nir
from nir_graphs import chain

from neuro.interop import hdf5, nir as neuro_nir


def lif(size=2, **changes):
    values = {"tau": 4.0, "r": 4.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0}
    return nir.LIF(**{k: np.full(size, v) for k, v in (values | changes).items()})


def write_net(path):
    """Write Linear (2 to 2) and a LIF; return the path."""
    nir.write(path, chain(nir.Linear(np.eye(2)), lif(), inputs=[2], outputs=[2]))
    return path


def list_problems(source, **choices):
    with pytest.raises(neuro_nir.NirError) as refused:
        neuro_nir.read(source, **choices)
    return refused.value.problems


def test_a_file_is_read_as_the_graph_in_memory_is(tmp_path):
    path = write_net(tmp_path / "net.nir")
    one, other = neuro_nir.read(path, dt=1.0), neuro_nir.read(nir.read(path), dt=1.0)
    assert one.library == f"NIR file of version {nir.version}"
    assert str(one.graph.summary()) == str(other.graph.summary())


@pytest.mark.parametrize("cut", [0, 10, 600, 3000])
def test_a_file_that_is_cut_short_is_refused(tmp_path, cut):
    path = write_net(tmp_path / "net.nir")
    path.write_bytes(path.read_bytes()[:cut])
    (problem,) = list_problems(path)
    assert problem.startswith("HDF5: ")
    assert problem.endswith("it is cut short or no HDF5 file; copy it again")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.nir: no such file"):
        neuro_nir.read(tmp_path / "none.nir")


def test_all_problems_of_a_file_are_listed_at_once(tmp_path):
    path = write_net(tmp_path / "net.nir")
    with h5py.File(path, "a") as file:
        nodes = file["node/nodes"]
        nodes["n0/weight"][0, 0] = np.nan
        nodes["n1/tau"][0] = 1e60
        del nodes["n1/r"]
        nodes["n1"].create_dataset("refractory", data=1e-3)
        nodes.create_group("odd").create_dataset("type", data="Izhikevich")
        nodes.create_group("n2").create_dataset("type", data="Scale")
        nodes["n2"].create_dataset("scale", data=b"two")
        del file["node/edges"]
        edges = [["input", "n0"], ["n0", "n1"], ["n0", "n1"], ["n1", "lost"]]
        file["node"].create_dataset("edges", data=edges, dtype=h5py.string_dtype())
    problems = "\n".join(list_problems(path))
    assert len(problems.splitlines()) == 8
    for said in (
        "n0 (Linear).weight: 1 of 4 values are NaN or infinite (first at (0, 0)); look at",
        "n1 (LIF).tau: 1e+60 is no float32; scale the network down",
        "n1 (LIF): has no r; write it again with nir.write",
        "n1 (LIF): refractory is unknown to NIR 1.0; remove it",
        "odd: unknown kind of node 'Izhikevich'; known are Input, Output, Affine",
        "n2 (Scale).scale: is the word 'two'; give numbers",
        "the network: edge n0 -> n1 is there twice; keep one",
        "the network: edge n1 -> lost: no node 'lost'; have",
    ):
        assert said in problems


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("9.0", "version '9.0' is unknown, known are 0.x and 1.x"),
        (None, "no version"),
        (3, "3"),
    ],
)
def test_an_unknown_version_is_refused(tmp_path, version, said):
    path = write_net(tmp_path / "net.nir")
    with h5py.File(path, "a") as file:
        del file["version"]
        if version is not None:
            file["version"] = version
    (problem,) = list_problems(path)
    assert said in problem
    assert problem.endswith("nir.write(path, nir.read(path))")


def test_what_leads_out_of_a_file_is_not_followed(tmp_path):
    path = write_net(tmp_path / "net.nir")
    raw = tmp_path / "raw"
    raw.write_bytes(bytes(32))
    with h5py.File(path, "a") as file:
        node = file["node/nodes/n1"]
        for name in ("tau", "r", "v_leak", "v_threshold"):
            del node[name]
        node["tau"] = h5py.ExternalLink("other.h5", "/secret")
        node["r"] = h5py.SoftLink("/node/nodes/n1/v_reset")
        node.create_dataset("v_leak", shape=2, dtype="f8", external=[(str(raw), 0, 16)])
        layout = h5py.VirtualLayout(shape=(2,), dtype="f8")
        layout[:] = h5py.VirtualSource("other.h5", "data", shape=(2,))
        node.create_virtual_dataset("v_threshold", layout)
    problems = sorted(list_problems(path))
    assert [p.partition(":")[0].rpartition("/")[2] for p in problems] == [
        *("r", "tau", "v_leak", "v_threshold")
    ]
    assert problems[1] == "/node/nodes/n1/tau: is a link to /secret; store the data"
    assert "its values lie in another file" in problems[2]


def test_an_array_far_larger_than_its_storage_is_not_read(tmp_path):
    path = write_net(tmp_path / "net.nir")
    with h5py.File(path, "a") as file:
        node = file["node/nodes/n0"]
        del node["weight"]
        node.create_dataset("weight", shape=(2**20, 2**20), dtype="f4", chunks=(64, 64))
    (problem,) = list_problems(path)
    assert "needs 4,398,046,511,104 bytes, 0 are stored" in problem


def test_a_filter_that_is_a_library_is_not_loaded(tmp_path):
    path = write_net(tmp_path / "net.nir")
    with h5py.File(path, "a") as file:
        node = file["node/nodes/n0"]
        del node["weight"]
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((2, 2))
        plan.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, ())  # zstd, a plug-in
        space = h5py.h5s.create_simple((2, 2))
        h5py.h5d.create(node.id, b"weight", h5py.h5t.IEEE_F32LE, space, plan)
    (problem,) = list_problems(path)
    assert problem == (
        "/node/nodes/n0/weight: HDF5 filter 32015 is a plug-in; write it with gzip"
    )


def test_objects_of_several_names_are_refused_and_loops_end(tmp_path):
    """With two links in each group, a walk of 32 groups has 2 ** 32 ends."""
    path = write_net(tmp_path / "net.nir")
    with h5py.File(path, "a") as file:
        file["node/nodes/again"] = file["node/nodes/more"] = file["node/nodes"]
        file["node/nodes/n1/tau_syn"] = file["node/nodes/n1/tau"]
    same = "is the same object as /node/nodes"
    assert list_problems(path) == [
        f"/node/nodes/again: {same}; store a copy",
        f"/node/nodes/more: {same}; store a copy",
        f"/node/nodes/n1/tau_syn: {same}/n1/tau; store a copy",
    ]


@pytest.mark.parametrize(("depth", "refused"), [(30, False), (31, True)])
def test_groups_are_read_to_a_depth_of_32(tmp_path, depth, refused):
    path = write_net(tmp_path / "net.nir")
    with h5py.File(path, "a") as file:
        file["node/nodes"].create_group("/".join("g" * depth))  # node is 0, nodes 1
    told = f"{'/g' * depth}: more than 32 groups inside one another; flatten it"
    assert any(problem.endswith(told) for problem in list_problems(path)) == refused


def test_a_chunk_that_was_not_worth_compressing_is_read(tmp_path):
    path = write_net(tmp_path / "net.nir")

    def make(group, name):
        one = group.create_dataset(name, (2, 2), "f8", chunks=(2, 2), compression="gzip")
        one.id.write_direct_chunk((0, 0), np.eye(2).tobytes(), filter_mask=1)

    replace(path, "node/nodes/n0/weight", make)
    assert (neuro_nir.read(path, dt=1.0).graph.nodes["n0"].weight == np.eye(2)).all()


def replace(path, place, make):
    """Put what ``make(group, name)`` makes into the place of a dataset."""
    group, _, name = place.rpartition("/")
    with h5py.File(path, "a") as file:
        del file[place]
        make(file[group or "/"], name)


@pytest.mark.parametrize(
    ("place", "left"),
    [("version", 268435456), ("node/edges", 268435379), ("node/type", 268434492)],
)
def test_nothing_is_read_that_a_file_of_its_size_should_not_hold(tmp_path, place, left):
    path = write_net(tmp_path / "net.nir")
    replace(path, place, lambda g, n: g.create_dataset(n, shape=(), dtype=f"S{2**31 - 65}"))
    (problem,) = list_problems(path)
    assert problem == (
        f"/{place}: shape () needs 2,147,483,647 bytes, 0 are stored, {left:,} are left for a "
        f"file of {path.stat().st_size:,} bytes; write all values, without compression"
    )


def test_an_array_may_fill_what_is_left_and_not_a_byte_more(tmp_path, monkeypatch):
    """Chunks are unpacked whole, so that 4,001 rows take the place of 5,000."""
    path = write_net(tmp_path / "net.nir")
    packed = {"compression": "gzip", "chunks": (1000, 2)}
    with h5py.File(path, "a") as file:
        file["node"].create_dataset("zeros", data=np.zeros((4001, 2)), **packed)
    size = path.stat().st_size
    monkeypatch.setattr(hdf5, "INFLATION", 1)
    monkeypatch.setattr(hdf5, "MOST_BYTES", 79_999)
    (problem,) = list_problems(path)
    assert problem.startswith("/node/zeros: shape (4001, 2) needs 80,000 bytes, ")
    assert problem.endswith(f" {size:,} bytes; write all values, without compression")
    left = int(problem.partition("stored, ")[2].partition(" are left")[0].replace(",", ""))
    monkeypatch.setattr(hdf5, "MOST_BYTES", 79_999 + 79_999 - left)
    (problem,) = list_problems(path)
    assert "stored, 79,999 are left" in problem
    monkeypatch.setattr(hdf5, "MOST_BYTES", 79_999 + 80_000 - left)
    neuro_nir.read(path, dt=1.0)
    monkeypatch.setattr(hdf5, "MOST_BYTES", 0)
    assert size < 80_000 < 3 * size
    monkeypatch.setattr(hdf5, "INFLATION", 3)
    neuro_nir.read(path, dt=1.0)


@pytest.mark.parametrize("fletcher32", [False, True])
@pytest.mark.parametrize("extra", [0, 1])
def test_a_chunk_that_unpacks_to_more_than_itself_is_not_unpacked(tmp_path, fletcher32, extra):
    """HDF5 would take the memory of all that the stream of deflate holds: up to 1,000 times."""
    path = write_net(tmp_path / "net.nir")
    chunk = np.eye(2).tobytes() + bytes(4 + extra)

    def make(group, name):
        one = group.create_dataset(
            name, (2, 2), "f8", chunks=(2, 2), compression="gzip", fletcher32=fletcher32
        )
        one.id.write_direct_chunk((0, 0), zlib.compress(chunk) + bytes(4 * fletcher32))

    replace(path, "node/nodes/n0/weight", make)
    problems = list_problems(path) if extra or fletcher32 else []
    told = "/node/nodes/n0/weight: compressed values exceed its shape; write it again"
    assert (told in problems) == bool(extra)


@pytest.mark.parametrize(
    ("entry", "size"), [(1, 2**64 - 16), (1, 4096 - 31), (-1, 0), (-1, 2**63)]
)
def test_a_heap_of_words_that_hdf5_would_walk_for_ever_is_not_read(tmp_path, entry, size):
    """Its first word is longer than its 4,096 bytes, or its free space has no end."""
    path = write_net(tmp_path / "net.nir")
    data = bytearray(path.read_bytes())
    at = data.index(b"GCOL") + 16
    while entry < 0 and data[at]:  # to the free space behind the words
        at += 16 + -(-int.from_bytes(data[at + 8 : at + 16], "little") // 8) * 8
    data[at + 8 : at + 16] = size.to_bytes(8, "little")
    path.write_bytes(data)
    assert list_problems(path) == ["HDF5: a heap of words is damaged; copy the file again"]


def test_many_words_that_share_their_letters_are_bounded(tmp_path, monkeypatch):
    path = write_net(tmp_path / "net.nir")
    words = ["n" * 50_000, *["n0"] * 99]

    def make(group, name):
        group.create_dataset(name, data=words, dtype=h5py.string_dtype())

    replace(path, "node/edges", make)
    with h5py.File(path) as file:
        start = file["node/edges"].id.get_offset()
    data = bytearray(path.read_bytes())
    data[start : start + 1600] = data[start : start + 16] * 100  # all refer to the long one
    path.write_bytes(data)
    monkeypatch.setattr(hdf5, "MOST_BYTES", 1 << 20)
    size = path.stat().st_size
    assert list_problems(path)[:1] == [
        f"/node/edges: its words have more letters than a file of {size:,} bytes may hold; "
        "write each word once"
    ]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (np.zeros(2, [("a", "f4"), ("b", "i4")]), "holds [('a', '<f4'), ('b', '<i4')], no"),
        (np.zeros(2, "V8"), "holds |V8, no numbers or words; store numbers"),
        (np.zeros(2, "c16"), "holds complex128, no numbers or words; store numbers"),
        (h5py.vlen_dtype(np.float32), "holds object, no numbers or words; store numbers"),
        (h5py.ref_dtype, "holds object, no numbers or words; store numbers"),
        (h5py.h5t.UNIX_D32LE, "holds no numbers or words (No NumPy equivalent for TypeTimeID"),
        (np.full((2, 3), b"a"), "holds words of shape (2, 3); store one, or a list of words"),
        (h5py.Empty("f4"), "holds no numbers but None; give numbers"),
    ],
)
def test_values_of_other_types_are_refused_by_name(tmp_path, make, said):
    def write(group, name):
        if isinstance(make, np.ndarray | h5py.Empty):
            group[name] = make
        elif isinstance(make, np.dtype):
            group.create_dataset(name, (2,), make)
        else:
            h5py.h5d.create(group.id, name.encode(), make, h5py.h5s.create_simple((2,)))

    path = write_net(tmp_path / "net.nir")
    replace(path, "node/nodes/n1/tau", write)
    (problem,) = list_problems(path)
    assert said in problem


@pytest.mark.parametrize(
    ("link", "said"),
    [
        (h5py.SoftLink("/node/type"), "/version: is a link to /node/type; store the data"),
        (h5py.ExternalLink("a.h5", "/v"), "/version: is a link to /v; store the data"),
        (h5py.Empty("S1"), "no version; write it again with a current nir"),
    ],
)
def test_a_version_is_no_link_and_not_empty(tmp_path, link, said):
    path = write_net(tmp_path / "net.nir")
    replace(path, "version", lambda group, name: group.__setitem__(name, link))
    (problem,) = list_problems(path)
    assert problem.startswith(said)


def test_a_message_lists_the_first_hundred_problems_and_shortens_words(tmp_path):
    path = write_net(tmp_path / "net.nir")
    with h5py.File(path, "a") as file:
        for k in range(103):
            file[f"node/nodes/n{k:03}"] = h5py.SoftLink("/version")
    with pytest.raises(neuro_nir.NirError) as refused:
        neuro_nir.read(path)
    assert len(refused.value.problems) == 103
    assert str(refused.value).splitlines()[-2:] == [
        "/node/nodes/n099: is a link to /version; store the data",
        "and 3 more",
    ]
    for place in ("version", "node/type", "node/nodes/n0/weight", "node/nodes/n0/type"):
        path = write_net(tmp_path / "net.nir")
        replace(path, place, lambda group, name: group.__setitem__(name, "9" * 1000))
        (problem,) = list_problems(path)
        assert "9" * 70 in problem
        assert "9" * 90 not in problem


def test_shapes_that_do_not_meet_are_listed():
    graph = chain(
        nir.Linear(np.eye(2)),
        lif(3),
        nir.Flatten({"input": np.array([5])}, start_dim=0),
        nir.Linear(np.ones((1, 3))),
        inputs=[2],
        outputs=[4],
    )
    problems = list_problems(graph)
    assert problems[0].startswith("n1 (LIF): has parameters of shape (3,) and takes (2,)")
    assert len(problems) == 2


def test_a_bias_has_the_shape_of_the_output():
    for weight, bias, told in (
        (np.eye(2), np.ones(1), "bias must be (2,), got (1,)"),
        (np.ones((2, 1, 2)), np.ones((1, 2)), "bias must be (2, 1), got (1, 2)"),
    ):
        shape = [*weight.shape[:-2], weight.shape[-1]]
        affine = nir.Affine(weight, bias)
        (problem,) = list_problems(chain(affine, inputs=shape, outputs=bias.shape))
        assert problem == f"n0 (Affine): {told}"


@pytest.mark.parametrize(
    ("node", "shape", "said"),
    [
        (nir.Scale(np.array([2.0])), (2**14, 2**14 + 1), "more than 268435456 values; correct"),
        (nir.SumPool2d(2**20, 2**60, 2**20), (1, 4, 4), "spans more than 268435456 values"),
        (
            nir.Conv1d(4, np.ones((1, 1, 2)), 1, "same", 2**28, 1, np.zeros(1)),
            (1, 4),
            "kernel (2,) of dilation (268435456,) spans more than 268435456 values",
        ),
    ],
)
def test_sizes_beyond_any_memory_are_refused(node, shape, said):
    graph = chain(node, inputs=shape, outputs=shape)
    assert said in "".join(list_problems(graph, ignore_declared_shapes=True))


def test_declared_shapes_are_checked_or_left_aside():
    conv = nir.Conv2d((9, 9), np.ones((1, 1, 2, 2)), 1, 0, 1, 1, np.zeros(1))
    flat = nir.Flatten({"input": np.array([1, 8, 8])}, start_dim=0)
    graph = chain(conv, flat, inputs=[1, 4, 4], outputs=[3])
    problems = list_problems(graph)
    assert problems[0].startswith("n0 (Conv2d): states input_shape (9, 9) and takes (1, 4, 4)")
    network = neuro_nir.read(graph, ignore_declared_shapes=True)
    assert network.graph.shapes[network.graph.outputs[0]] == (9,)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tau": 0.0}, "tau must be > 0, got 0"),
        ({"tau": 0.5}, "a time constant of 0.5 is shorter than dt = 1"),
        ({"r": -1.0}, "gain must be > 0 and finite"),
        ({"v_threshold": -0.5}, "threshold must be > rest and finite"),
        ({"v_reset": 1.0}, "reset_to must be < threshold and finite"),
    ],
)
def test_parameters_that_no_tick_can_keep_are_refused(changes, said):
    (problem,) = list_problems(chain(lif(**changes), inputs=[2], outputs=[2]), dt=1.0)
    assert problem.startswith("n0 (LIF): ")
    assert said in problem


@pytest.mark.parametrize("field", ["tau", "r", "v_leak", "v_threshold", "v_reset"])
def test_a_parameter_that_float32_loses_is_refused(field):
    """Half the least number of float32 is 0 in it; a little more is that number."""
    least = 2.0**-149
    for lost in (5e-324, least / 2, -least / 2):
        graph = chain(lif(**{field: lost}), inputs=[2], outputs=[2])
        (problem,) = list_problems(graph, dt=1.0)
        told = f"n0 (LIF).{field}: {lost:g} is 0 in float32; scale it up, or write 0"
        assert problem == told
    kept = lif(**{"v_threshold": 1e-6, field: least * 0.501})
    if field in ("tau", "r"):
        assert "is 0 in float32" not in "".join(
            list_problems(chain(kept, inputs=[2], outputs=[2]))
        )
    else:
        neuro_nir.read(chain(kept, inputs=[2], outputs=[2]), dt=1.0)


def test_weights_that_float32_loses_are_refused_and_a_scale_that_becomes_lost():
    weight = np.array([[1.0, 0.0], [1e-50, -1e-60]])
    graph = chain(nir.Affine(weight, np.zeros(2)), lif(), inputs=[2], outputs=[2])
    told = "n0 (Affine).weight: 1e-50 is 0 in float32; scale it up, or write 0"
    assert list_problems(graph, dt=1.0) == [told]
    graph = chain(lif(tau=1e9, r=1e-37), inputs=[2], outputs=[2])
    assert list_problems(graph, dt=1.0) == [
        "n0 (LIF): scales its input by 1e-46 in a tick, 0 in float32; raise r, lower weights"
    ]


def test_a_leak_at_the_threshold_is_refused_for_what_it_is():
    (problem,) = list_problems(chain(lif(v_leak=1.0), inputs=[2], outputs=[2]), dt=1.0)
    assert problem == (
        "n0 (LIF): v_leak is v_threshold, so that rounding decides whether it fires without "
        "input; raise or lower v_leak"
    )


def test_a_delayed_reset_needs_a_membrane_that_lasts():
    graph = chain(lif(tau=1.0), inputs=[2], outputs=[2])
    (problem,) = list_problems(graph, dt=1.0, reset="delayed")
    assert "keeps no membrane for a delayed reset" in problem


def test_an_integrator_with_a_leak_voltage_is_refused():
    cell = nir.LI(tau=np.ones(2), r=np.ones(2), v_leak=np.full(2, 0.5))
    (problem,) = list_problems(chain(cell, inputs=[2], outputs=[2]), dt=0.5)
    assert "set v_leak to 0 and add it to what reads v" in problem


def test_a_delay_that_is_no_whole_number_of_steps_is_refused():
    (problem,) = list_problems(
        chain(nir.Delay(np.full(2, 0.25)), lif(), inputs=[2], outputs=[2]), dt=0.1
    )
    assert "is not a whole number of steps of dt = 0.1 s" in problem


def test_loops_and_loose_ends_are_named():
    nodes = {
        "input": nir.Input(np.array([2])),
        "a": nir.Linear(np.eye(2)),
        "b": nir.Linear(np.eye(2)),
        "lif": lif(),
        "alone": nir.Scale(np.ones(2)),
        "output": nir.Output(np.array([2])),
    }
    edges = [("input", "a"), ("a", "b"), ("b", "a"), ("b", "lif"), ("lif", "output")]
    problems = list_problems(nir.NIRGraph(nodes, edges, type_check=False))
    assert "alone (Scale): no edge feeds it; connect or remove it" in problems
    assert "alone (Scale): nothing follows it; connect it to an Output" in problems
    assert any(p.startswith("loop a -> b -> a holds no neuron") for p in problems)


def test_a_subgraph_with_two_inputs_does_not_say_which_is_meant():
    inner = {"x": nir.Input(np.array([2])), "y": nir.Input(np.array([2])), "lif": lif()}
    inner["output"] = nir.Output(np.array([2]))
    edges = [("x", "lif"), ("y", "lif"), ("lif", "output")]
    graph = chain(nir.NIRGraph(inner, edges, type_check=False), lif(), inputs=[2], outputs=[2])
    assert list_problems(graph)[0].startswith(
        "edge input -> n0: subgraph n0 has 2 Input nodes, and NIR does not say which is meant"
    )


def test_a_source_that_is_no_network_is_refused():
    with pytest.raises(TypeError, match=r"a path or a nir\.NIRGraph, got LIF"):
        neuro_nir.read(lif())


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("node/type", np.ones(3), "the outermost node is a array([1., 1., 1.]), no NIRGraph"),
        ("node/nodes/n1/type", np.ones(3), "unknown kind of node"),
        ("node/nodes/n1/tau", np.zeros((2, 0)), "has shape (2, 0); give at least one number"),
        ("node/nodes/n0/weight", "word", "is the word 'word'; give numbers"),
        ("node/edges", np.array(3), "has no list of edges"),
        ("node/edges", np.ones(4), "has no list of edges"),
        ("node/nodes", "word", "has no nodes"),
    ],
)
def test_a_value_of_another_kind_is_refused(tmp_path, place, value, said):
    path = write_net(tmp_path / "net.nir")
    with h5py.File(path, "a") as file:
        del file[place]
        file[place] = value
    assert any(said in problem for problem in list_problems(path))
