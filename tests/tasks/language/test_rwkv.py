"""RWKV-5, 6 and 7 read published checkpoints, and agree with the package ``rwkv`` on them."""

import importlib.util
import json
import re
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from neuro.base.seeds import seeded
from tasks.language.rwkv import RWKV, RWKVSizes, generate, initialise, load_rwkv, make_rwkv
from tasks.language.rwkv_names import rename_huggingface

# Of the published file of 1.5 billion parameters.
X070 = {"decay_rank": 96, "rate_rank": 96, "value_rank": 64, "gate_rank": 256}
WORDS, PROMPT = 40, [3, 17, 5, 39, 0, 8, 8]


def sizes(version: Any) -> RWKVSizes:
    return RWKVSizes(
        version=version, vocabulary=WORDS, width=32, layers=2, hidden=64, head_width=16
    )


def random_tensors(version: int) -> dict[str, Tensor]:
    """Return a checkpoint in the published layout, with every tensor off its initial value."""
    with seeded(version):
        model = RWKV(sizes(version))
        return {n: p.data + 0.2 * torch.randn(p.shape) for n, p in model.named_parameters()}


VERSIONS = pytest.mark.parametrize("version", [5, 6, 7])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit.script")  # the package's RWKV-7 uses it
@VERSIONS
@pytest.mark.parametrize("tokens", [1, len(PROMPT)])
def test_logits_and_state_are_those_of_the_package_rwkv(
    version: int, tokens: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rwkv")
    for name, value in {"JIT_ON": "0", "CUDA_ON": "0", "V7_ON": f"{version // 7}"}.items():
        monkeypatch.setenv(f"RWKV_{name}", value)
    spec: Any = importlib.util.find_spec("rwkv.model")  # it reads them when it is imported
    package = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)
    path = tmp_path / "small.pth"
    torch.save(random_tensors(version), path)
    ours = load_rwkv(path)
    where, more = (path.with_suffix(""), {}) if version == 7 else (path, {"verbose": False})
    theirs = package.RWKV(model=str(where), strategy="cpu fp32", **more)
    want, past = theirs.forward(PROMPT[:tokens], None)
    got, state = ours(torch.tensor(PROMPT[:tokens])[:, None])
    torch.testing.assert_close(got[-1, 0], want, rtol=2e-4, atol=2e-5)
    want, past = theirs.forward([9], past)
    got, state = ours(torch.tensor([[9]]), state)
    torch.testing.assert_close(got[-1, 0], want, rtol=2e-4, atol=2e-5)
    for layer, block in enumerate(state):
        s = block.att.s[0].mT if version == 7 else block.att.s[0]  # values by keys
        mine = (block.att.last[0], s, block.ffn[0])
        for one, two in zip(mine, past[3 * layer : 3 * layer + 3], strict=True):
            torch.testing.assert_close(one, two, rtol=2e-4, atol=2e-5)


def by_numpy(tensors: dict[str, Tensor], tokens: list[int]) -> np.ndarray:
    """Return the logits behind the last token, from the equations of RWKV-7's paper."""
    p: dict[str, np.ndarray] = {n: t.double().squeeze().numpy() for n, t in tensors.items()}
    heads, size = tensors["blocks.0.att.r_k"].shape

    def sigma(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x))

    def norm(x: np.ndarray, name: str, groups: int = 1, eps: float = 1e-5) -> np.ndarray:
        rows = x.reshape(groups, -1)
        rows = rows - rows.mean(1, keepdims=True)
        rows = rows / np.sqrt((rows**2).mean(1, keepdims=True) + eps)
        return rows.ravel() * p[f"{name}.weight"] + p[f"{name}.bias"]

    def time_mix(a: str, x: np.ndarray, last: np.ndarray, s: np.ndarray, first: Any) -> Any:
        x_r, x_w, x_k, x_v, x_a, x_g = (x + p[f"{a}x_{m}"] * (last - x) for m in "rwkvag")
        r, k, v = (
            p[f"{a}{m}.weight"] @ y
            for m, y in (("receptance", x_r), ("key", x_k), ("value", x_v))
        )
        w = np.exp(
            -np.exp(-0.5) * sigma(p[a + "w0"] + np.tanh(x_w @ p[a + "w1"]) @ p[a + "w2"])
        )
        rate = sigma(p[a + "a0"] + x_a @ p[a + "a1"] @ p[a + "a2"])
        if first is None:
            first = v
        else:
            v = v + (first - v) * sigma(p[a + "v0"] + x_v @ p[a + "v1"] @ p[a + "v2"])
        kk, k = (k * p[a + "k_k"]).reshape(heads, size), k * (1 + (rate - 1) * p[a + "k_a"])
        kk = kk / np.linalg.norm(kk, axis=1, keepdims=True)
        r, w, k, v, rate = (y.reshape(heads, size) for y in (r, w, k, v, rate))
        s = (
            s * w[:, None]
            - (s @ kk[:, :, None]) * (kk * rate)[:, None]
            + v[:, :, None] * k[:, None]
        )
        y = norm(s @ r[:, :, None], a + "ln_x", heads, 64e-5)
        y = y + ((r * k * p[a + "r_k"]).sum(1, keepdims=True) * v).ravel()
        gate = sigma(x_g @ p[a + "g1"]) @ p[a + "g2"]
        return p[a + "output.weight"] @ (y * gate), s, first.ravel()

    width = heads * size
    past = [[np.zeros(width), np.zeros((heads, size, size)), np.zeros(width)] for _ in range(2)]
    for token in tokens:
        x, first = norm(p["emb.weight"][token], "blocks.0.ln0"), None
        for layer, own in enumerate(past):
            block = f"blocks.{layer}."
            y = norm(x, block + "ln1")
            more, own[1], first = time_mix(block + "att.", y, own[0], own[1], first)
            own[0], x = y, x + more
            y = norm(x, block + "ln2")
            k = p[block + "ffn.key.weight"] @ (y + p[block + "ffn.x_k"] * (own[2] - y))
            own[2], x = y, x + p[block + "ffn.value.weight"] @ np.maximum(k, 0) ** 2
    return p["head.weight"] @ norm(x, "ln_out")


@pytest.mark.parametrize("tokens", [1, 40])
def test_goose_is_its_paper_in_float64(tokens: int) -> None:
    tensors, text = random_tensors(7), [(7 * k) % WORDS for k in range(tokens)]
    logits, _ = make_rwkv(tensors).double()(torch.tensor(text)[:, None])
    want = torch.from_numpy(by_numpy(tensors, text))
    torch.testing.assert_close(logits[-1, 0], want, rtol=1e-11, atol=1e-11)


def of_team(name: str) -> str:
    """Return a name of BlinkDL's as the RWKV team's folders have it."""
    keys = {"k": "key", "v": "value", "r": "receptance", "g": "gate"}
    name = re.sub(r"time_mix_(.)$", lambda m: f"time_mix_{keys[m[1]]}", name)
    for one, two in (("ln0", "pre_ln"), ("att.", "attention."), ("ffn", "feed_forward")):
        name = name.replace(one, two)
    return name if name == "head.weight" else f"rwkv.{name.replace('emb.', 'embeddings.')}"


def of_fla(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a checkpoint as flash-linear-attention writes it."""
    outer = {"emb": "model.embeddings", "ln_out": "model.norm", "head": "lm_head"}
    inner = {"ln0": "pre_norm", "ln1": "attn_norm", "ln2": "ffn_norm", "att": "attn"}
    maps = {"receptance": "r_proj", "key": "k_proj", "value": "v_proj", "output": "o_proj"}
    maps["ln_x"], lora = "g_norm", ("2.bias", "0.weight", "2.weight")
    found = {}
    for name, t in tensors.items():
        head, *rest = name.split(".")
        if head in outer:
            found[".".join((outer[head], *rest))] = t
            continue
        layer, part, *rest = rest
        if part == "att":
            rest[0] = maps.get(rest[0], rest[0])
        t = t.view(-1) if t.dim() == 3 and "att.x_" not in name else t
        if re.fullmatch(r"[wavg]\d", rest[0]):
            number = int(rest[0][1])
            t = t.T if number else t
            rest[0] = f"{rest[0][0]}_lora.lora.{lora[number]}"
        found[".".join(("model.layers", layer, inner.get(part, part), *rest))] = t
    return found


@VERSIONS
def test_hugging_face_names_give_the_same_model(version: int) -> None:
    tensors = random_tensors(version)
    named = of_fla(tensors) if version == 7 else {of_team(n): t for n, t in tensors.items()}
    assert not named.keys() & (tensors.keys() - {"head.weight"})
    with pytest.raises(ValueError, match=r"names begin with (rwkv|model)\.; they must be Blin"):
        make_rwkv(named)
    found = rename_huggingface(named, f"rwkv{version}")
    assert found.keys() == tensors.keys()
    assert all(
        torch.equal(found[n], t) and found[n].is_contiguous() for n, t in tensors.items()
    )
    make_rwkv(found)


def test_a_folder_of_shards_is_loaded_as_the_file_with_its_tensors(tmp_path: Path) -> None:
    tensors = random_tensors(7)
    named, places = of_fla(tensors), {}
    (tmp_path / "config.json").write_text('{"model_type": "rwkv7"}')
    for k, names in enumerate((sorted(named)[:9], sorted(named)[9:])):
        save_file({n: named[n].contiguous() for n in names}, tmp_path / f"part-{k}.safetensors")
        places |= dict.fromkeys(names, f"part-{k}.safetensors")
    index = {"weight_map": places}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    prompt = torch.tensor(PROMPT)[:, None]
    assert torch.equal(load_rwkv(tmp_path)(prompt)[0], make_rwkv(tensors)(prompt)[0])
    (tmp_path / "config.json").write_text('{"model_type": "rwkv"}')
    with pytest.raises(ValueError, match=f"{tmp_path.name}: model_type is 'rwkv'; it must be"):
        load_rwkv(tmp_path)
    (tmp_path / "part-1.safetensors").unlink()
    with pytest.raises(ValueError, match=r"index\.json: names 'part-1.safetensors', which"):
        load_rwkv(tmp_path)


def test_older_folders_of_goose_keep_six_shifts_in_one_tensor() -> None:
    tensors = random_tensors(7)
    named = of_fla(tensors)
    for layer in range(2):
        stem = f"model.layers.{layer}.attn.x_"
        named[f"{stem}x"] = torch.cat([named.pop(stem + m).view(1, -1) for m in "rwkvag"])
    found = rename_huggingface(named, "rwkv7")
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[n], t) for n, t in tensors.items())


def test_other_folders_are_refused_by_name() -> None:
    with pytest.raises(
        ValueError, match=r"model_type is 'rwkv'; it must be rwkv5, rwkv6 or rwk"
    ):
        rename_huggingface({}, "rwkv")
    with pytest.raises(
        ValueError, match=r"rwkv6 folder are model.layers.*RWKV/v6-Finch-1B6-HF"
    ):
        rename_huggingface(of_fla(random_tensors(7)), "rwkv6")
    with pytest.raises(ValueError, match="RWKV, dense, of 16, 32 or 64 bits: 'a' is None"):
        rename_huggingface({"a": None}, "rwkv7")


@pytest.mark.parametrize(
    ("without", "decay", "version"),
    [
        ("ln_x.weight", (2, 16), "4 or older"),
        ("gate.weight", (2, 16), "5.0"),
        ("", (2, 1), "5.1"),
        ("", (2,), "5.1"),
    ],
)
def test_older_versions_are_refused_by_name(
    without: str, decay: tuple[int, ...], version: str
) -> None:
    tensors = {n: t for n, t in random_tensors(5).items() if n != f"blocks.0.att.{without}"}
    tensors["blocks.0.att.time_decay"] = torch.zeros(decay)
    message = rf"version is RWKV-{version}; it must be 5.2, 6 or 7: take a file named RWKV-5-W"
    with pytest.raises(ValueError, match=message):
        make_rwkv(tensors)


def test_goose_leaves_out_what_it_never_reads_and_refuses_its_successors() -> None:
    tensors = random_tensors(7)
    spare = {f"blocks.0.att.v{k}": torch.zeros(3) for k in range(3)}
    model = make_rwkv({**tensors, **spare})
    assert model.state_dict().keys() == tensors.keys()
    with pytest.raises(ValueError, match="RWKV-7 with deep embeddings"):
        make_rwkv({**tensors, "blocks.0.ffn.s_emb.weight": torch.zeros(40, 2)})
    with pytest.raises(ValueError, match=r"blocks.0.att.v3 is unknown"):
        make_rwkv({**tensors, "blocks.0.att.v3": torch.zeros(2)})


def test_ranks_and_layers_of_goose_are_those_of_the_file() -> None:
    ranks = {"decay_rank": 3, "rate_rank": 4, "value_rank": 5, "gate_rank": 6}
    for layers in (1, 3):
        of = replace(sizes(7), layers=layers, ranks=ranks)
        found = make_rwkv(RWKV(of).state_dict()).sizes
        want = ranks if layers > 1 else {k: v for k, v in ranks.items() if k != "value_rank"}
        assert (found.ranks, found.layers, found.version) == (want, layers, 7)
    with pytest.raises(ValueError, match=r"RWKVSizes.gate_rank must be >= 1, got 0"):
        replace(sizes(7), ranks={"gate_rank": 0})


@VERSIONS
def test_a_run_in_parts_is_one_run_and_samples_are_apart(version: int) -> None:
    model = make_rwkv(random_tensors(version))
    tokens = torch.tensor([PROMPT, PROMPT[::-1]]).T
    whole, end = model(tokens)
    one, state = model(tokens[:4])
    two, last = model(tokens[4:], state)
    torch.testing.assert_close(torch.cat([one, two]), whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(last[1].att.s, end[1].att.s, rtol=1e-4, atol=1e-5)
    alone, _ = model(tokens[:, 1:])
    torch.testing.assert_close(alone, whole[:, 1:], rtol=1e-4, atol=1e-5)
    numbers = sum(p.numel() for b in end for p in (*b.att, b.ffn))
    assert numbers == 2 * model.state_size() == 2 * 2 * (2 * 32 + 2 * 16 * 16)


@VERSIONS
def test_text_is_generated_greedily_or_drawn_by_seed(version: int) -> None:
    model = make_rwkv(random_tensors(version))
    greedy = list(islice(generate(model, PROMPT, temperature=0.0), 5))
    logits, _ = model(torch.tensor(PROMPT + greedy)[:, None])
    assert logits[len(PROMPT) - 1 : -1, 0].argmax(-1).tolist() == greedy
    runs = [
        list(islice(generate(model, PROMPT, 5.0, torch.Generator().manual_seed(s)), 9))
        for s in (1, 1, 2)
    ]
    assert runs[0] == runs[1] != runs[2]
    with pytest.raises(ValueError, match="temperature must be >= 0, got -1"):
        next(generate(model, PROMPT, -1.0))


@VERSIONS
def test_a_model_to_train_begins_with_nothing_added_to_the_stream(version: int) -> None:
    model = RWKV(sizes(version))
    initialise(model)
    logits, _ = model(torch.tensor(PROMPT)[:, None])
    x = model.blocks[0].ln0(model.emb(torch.tensor(PROMPT)))
    torch.testing.assert_close(logits[:, 0], model.head(model.ln_out(x)))


@pytest.mark.parametrize(
    ("of", "parameters"),
    [
        (
            RWKVSizes(version=5, vocabulary=65536, width=2048, layers=24, hidden=7168),
            1_577_754_624,
        ),
        (
            RWKVSizes(version=6, vocabulary=65536, width=2048, layers=24, hidden=7168),
            1_599_873_024,
        ),
        (
            RWKVSizes(
                version=7, vocabulary=65536, width=2048, layers=24, hidden=8192, ranks=X070
            ),
            1_527_404_544,
        ),
    ],
)
def test_published_sizes_have_the_published_numbers_of_parameters(
    of: RWKVSizes, parameters: int
) -> None:
    with torch.device("meta"):
        model = RWKV(of)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert model.state_size() == 24 * 66 * 2048


def test_both_kinds_of_files_are_read_and_damaged_ones_refused(tmp_path: Path) -> None:
    tensors = random_tensors(6)
    save_file(tensors, tmp_path / "a.safetensors")
    torch.save({n: t.bfloat16() for n, t in tensors.items()}, tmp_path / "a.pth")
    tokens = torch.tensor(PROMPT)[:, None]
    exact = load_rwkv(tmp_path / "a.safetensors")(tokens)[0]
    short = load_rwkv(tmp_path / "a.pth")(tokens)[0]
    assert short.dtype == torch.float32
    assert float((short - exact).norm() / exact.norm()) < 0.05
    for name in ("a.pth", "a.safetensors"):
        path = tmp_path / f"cut_{name}"
        path.write_bytes((tmp_path / name).read_bytes()[:-900])
        with pytest.raises(ValueError, match=rf"cut_{name}: no checkpoint that can be read"):
            load_rwkv(path)
    with pytest.raises(ValueError, match=r"none.pth: no checkpoint .* give a whole file as"):
        load_rwkv(tmp_path / "none.pth")


def test_other_tensors_are_refused_by_name() -> None:
    tensors = random_tensors(5)
    first = {n: t for n, t in tensors.items() if not n.startswith("blocks.1.")}
    gate = {n: t for n, t in tensors.items() if n != "blocks.1.att.gate.weight"}
    with pytest.raises(ValueError, match=r"RWKV-5: blocks.1.att.gate.weight is missing"):
        make_rwkv(gate)
    with pytest.raises(ValueError, match=r"blocks.0.att.time_state is unknown"):
        make_rwkv({**tensors, "blocks.0.att.time_state": torch.zeros(2)})
    with pytest.raises(ValueError, match=r"head.weight is \(39, 32\), not \(40, 32\)"):
        make_rwkv({**tensors, "head.weight": tensors["head.weight"][1:]})
    head = tensors["head.weight"]
    with pytest.raises(ValueError, match=r"RWKV-5: head.weight is not finite"):
        make_rwkv({**tensors, "head.weight": head * torch.nan})
    with pytest.raises(ValueError, match=r"emb.weight of 2 axes; this has none: take a file"):
        make_rwkv({})
    with pytest.raises(ValueError, match=r"ffn.key.weight of 2 axes; this has none: take a"):
        make_rwkv({"emb.weight": head})
    for far in (2, 999_999_999):
        with pytest.raises(ValueError, match=f"this has block {far} and no block 1: take"):
            make_rwkv({**first, f"blocks.{far}.x": head})
    for unknown in ("blocks.2000000000.x", f"blocks.{'9' * 5000}.x"):  # no numbers of blocks
        with pytest.raises(ValueError, match=f"RWKV-5: {unknown} is unknown"):
            make_rwkv({**tensors, unknown: head})
    old = {**tensors, "blocks.0.att.time_faaaa": torch.zeros(2)}
    with pytest.raises(ValueError, match=r"time_faaaa of 2 axes; this has shape \(2,\)"):
        make_rwkv(old)
    with pytest.raises(ValueError, match="version must be 5, 6 or 7, got 4"):
        sizes(4)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (torch.Tensor.int, "head.weight holds torch.int32"),
        (lambda t: t.to(torch.float8_e4m3fn), "head.weight holds torch.float8_e4m3fn"),
        (torch.Tensor.cfloat, "head.weight holds torch.complex64"),
        (torch.Tensor.to_sparse, "head.weight is not dense"),
        (lambda t: torch.nested.nested_tensor([t]), "head.weight is not dense"),
        (lambda t: t.to("meta"), "head.weight has no values"),
        (lambda _: 1.5, "'head.weight' is 1.5"),
    ],
)
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_what_is_no_dense_tensor_of_floats_is_refused_by_name(make: Any, told: str) -> None:
    tensors = random_tensors(5)
    with pytest.raises(ValueError, match=f"RWKV, dense, of 16, 32 or 64 bits: {told}"):
        make_rwkv({**tensors, "head.weight": make(tensors["head.weight"])})


def test_what_is_no_table_of_tensors_by_name_is_refused(tmp_path: Path) -> None:
    tensors: Any = random_tensors(5)
    with pytest.raises(ValueError, match=r"RWKV, dense.*: 7 is a Tensor of shape \(40, 32\)"):
        make_rwkv({**tensors, 7: tensors["head.weight"]})
    torch.save([tensors["head.weight"]], tmp_path / "list.pth")
    with pytest.raises(ValueError, match=r"list.pth: holds a list, and not tensors by name"):
        load_rwkv(tmp_path / "list.pth")


def test_a_long_prompt_is_read_in_parts() -> None:
    model, read = make_rwkv(random_tensors(6)), []
    prompt = [1 + k % 39 for k in range(150)]
    logits, _ = model(torch.tensor(prompt)[:, None])
    model.emb.register_forward_pre_hook(lambda _, given: read.append(len(given[0])))
    token = next(generate(model, prompt, temperature=0.0))
    assert token == int(logits[-1, 0].argmax())
    assert read == [64, 64, 22]


def test_tokens_and_states_of_another_model_are_refused() -> None:
    model = make_rwkv(random_tensors(5))
    with pytest.raises(ValueError, match="tokens are from 0 to 39, got 2 to 40; the tokenizer"):
        model(torch.tensor([[2], [40]]))
    with pytest.raises(ValueError, match="give at least one token"):
        next(generate(model, []))
    _, state = model(torch.tensor([[1]]))
    with pytest.raises(ValueError, match="its state has 2 blocks, got 1"):
        model(torch.tensor([[1]]), state[:1])
    with pytest.raises(ValueError, match="RWKV5: s of the state is"):
        model(torch.tensor([[1, 2]]), state)
