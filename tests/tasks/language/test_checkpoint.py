"""Folders of published MatMul-free models: logits, names, refusals, and the run they become."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from neuro.base.seeds import seeded
from neuro.io.run_folder import RunError
from neuro.io.store import StoreError
from neuro.nn.ternary import SpikeCount
from tasks.language.checkpoint import (
    from_pretrained,
    import_checkpoint,
    is_checkpoint,
    save_pretrained,
    tell_checkpoint,
)
from tasks.language.config import LanguageConfig, matmulfree_370m
from tasks.language.data import find_tokenizer
from tasks.language.model import LanguageModel
from tasks.runs.find import open_folder
from tasks.runs.trained_run import load_trained_model

WORDS, WIDTH, HIDDEN, LAYERS = 40, 12, 20, 3


@pytest.fixture(scope="module")
def config() -> LanguageConfig:
    return replace(
        matmulfree_370m(),
        stack=f"mlgru*{LAYERS}",
        width=WIDTH,
        hidden=HIDDEN,
        vocabulary=WORDS,
        tokens=8,
        lanes=2,
    )


@pytest.fixture
def folder(config: LanguageConfig, tmp_path: Path) -> Path:
    """A model in the published layout, with every tensor off its initial value."""
    with seeded(3):
        model = LanguageModel(config)
        with torch.no_grad():
            for p in model.parameters():
                p.add_(0.3 * torch.randn_like(p))
    path = tmp_path / "small"
    save_pretrained(path, model, config)
    return path


def compute_published_logits(tensors: dict[str, Tensor], tokens: list[int]) -> Tensor:
    """Transcribe the published forward pass, token by token, in the tensors' precision."""

    def norm(x: Tensor, name: str) -> Tensor:
        return x / (x.square().mean() + 1e-6).sqrt() * tensors[f"{name}.weight"]

    def bit_linear(x: Tensor, name: str) -> Tensor:
        x, w = norm(x, f"{name}.norm"), tensors[f"{name}.weight"]
        a, s = 127 / x.abs().max().clamp(min=1e-5), 1 / w.abs().mean().clamp(min=1e-5)
        quantised = (w * s).round().clamp(-1, 1) / s
        return quantised @ ((x * a).round().clamp(-128, 127) / a)

    bounds = tensors["model.lower_bounds"].softmax(0)
    bounds = bounds.cumsum(0) - bounds[0]
    states = [torch.zeros(WIDTH, dtype=bounds.dtype) for _ in range(LAYERS)]
    out = []
    for token in tokens:
        x = tensors["model.embeddings.weight"][token]
        for n in range(LAYERS):
            at = f"model.layers.{n}"
            y = norm(x, f"{at}.attn_norm")
            f = bit_linear(y, f"{at}.attn.f_proj").sigmoid()
            f = bounds[n] + (1 - bounds[n]) * f if n else f
            states[n] = f * states[n] + F.silu(bit_linear(y, f"{at}.attn.i_proj")) * (1 - f)
            gate = norm(bit_linear(y, f"{at}.attn.g_proj"), f"{at}.attn.g_norm")
            x = x + bit_linear(gate * F.silu(states[n]), f"{at}.attn.o_proj")
            one, two = bit_linear(norm(x, f"{at}.mlp_norm"), f"{at}.mlp.gate_proj").chunk(2)
            x = x + bit_linear(F.silu(one) * two, f"{at}.mlp.down_proj")
        out.append(bit_linear(norm(x, "model.norm"), "lm_head"))
    return torch.stack(out)


def test_logits_are_those_of_the_published_forward_pass(folder: Path) -> None:
    model, _ = from_pretrained(folder)
    tensors = {k: v.double() for k, v in load_file(folder / "model.safetensors").items()}
    tokens = [3, 17, 5, 39, 0, 8, 8, 21]
    want = compute_published_logits(tensors, tokens)
    ours = model.double()
    whole, _ = ours(torch.tensor(tokens)[:, None])
    torch.testing.assert_close(whole[:, 0], want, rtol=1e-9, atol=1e-9)
    first, state = ours(torch.tensor(tokens[:3])[:, None])
    rest, _ = ours(torch.tensor(tokens[3:])[:, None], state)
    torch.testing.assert_close(torch.cat([first, rest])[:, 0], want, rtol=1e-9, atol=1e-9)


def test_shards_of_either_kind_in_16_bits_give_the_weights_in_float32(folder: Path) -> None:
    whole = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    half = {k: v.bfloat16() for k, v in whole.items()}
    names = sorted(half)
    for suffix, kind in ((".bin", "pytorch_model"), (".safetensors", "model")):
        places = {}
        for part, own in (("a", names[:7]), ("b", names[7:])):
            file = f"{kind}-{part}{suffix}"
            shard = {k: half[k] for k in own}
            if suffix == ".bin":
                torch.save(shard, folder / file)
            else:
                save_file(shard, folder / file)
            places |= dict.fromkeys(own, file)
        index = folder / f"{kind}{suffix}.index.json"
        index.write_text(json.dumps({"weight_map": places}))
        model, _ = from_pretrained(folder)
        assert model.head.weight.dtype == torch.float32
        assert torch.equal(model.head.weight, half["lm_head.weight"].float())
        assert torch.equal(
            model.blocks[1].mixer.candidate.gain,
            half["model.layers.1.attn.i_proj.norm.weight"].float(),
        )
        index.unlink()


def test_a_spiking_model_keeps_the_weights_and_counts_spikes(folder: Path) -> None:
    model, config = from_pretrained(folder, ["linear=spiking", "threshold=0.375", "ticks=6"])
    quantise = model.blocks[2].down.quantise
    assert isinstance(quantise, SpikeCount)
    assert (quantise.ticks, quantise.threshold) == (6, 0.375)
    dense, _ = from_pretrained(folder)
    assert torch.equal(model.head.weight, dense.head.weight)
    assert (config.linear, config.width, config.hidden) == ("spiking", WIDTH, HIDDEN)


def edit(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    fields = json.loads(path.read_text())
    fields.update(values)
    path.write_text(json.dumps({k: v for k, v in fields.items() if v is not None}))


def edit_tensors(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("width", "ratio", "hidden"), [(1024, 4, 2816), (2048, None, 5632), (96, 3, 256)]
)
def test_the_hidden_width_is_derived_as_published(
    folder: Path, width: int, ratio: int | None, hidden: int
) -> None:
    from tasks.language.checkpoint import read_config

    edit(folder, intermediate_size=None, hidden_size=width, hidden_ratio=ratio)
    assert read_config(folder).hidden == hidden


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"model_type": "llama"}, "model_type is 'llama'; it must be 'hgrn_bit'"),
        ({"num_heads": 2}, "num_heads is 2; it must be 1"),
        ({"expand_ratio": 2}, "expand_ratio is 2; it must be 1"),
        ({"use_short_conv": True}, "use_short_conv is True; it must be False"),
        ({"use_lower_bound": False}, "use_lower_bound is False; it must be True"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'; it must be 'swish'"),
        ({"tie_word_embeddings": True}, "tie_word_embeddings is True"),
        ({"rms_norm_eps": 1e-5}, "rms_norm_eps is 1e-05; it must be 1e-06"),
        ({"hidden_size": "12"}, "hidden_size"),
        ({"vocab_size": 41}, r"lm_head.weight is \(40, 12\), not \(41, 12\)"),
        ({"num_hidden_layers": 4}, "model.layers.3.attn.f_proj.weight is missing"),
        ({"num_hidden_layers": 2}, "model.layers.2.attn.f_proj.norm.weight is unknown"),
    ],
)
def test_other_models_are_refused_by_name(
    folder: Path, values: dict[str, Any], told: str
) -> None:
    edit(folder, **values)
    with pytest.raises(ValueError, match=told):
        from_pretrained(folder)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t.pop("model.norm.weight"), "model.norm.weight is missing"),
        (lambda t: t.update(extra=torch.ones(1)), "extra is unknown"),
        (lambda t: t["model.lower_bounds"].fill_(torch.nan), "lower_bounds is not finite"),
        (
            lambda t: t.update({"model.norm.weight": torch.ones(WIDTH, dtype=torch.int8)}),
            "model.norm.weight holds torch.int8",
        ),
    ],
)
def test_wrong_tensors_are_refused_by_name(
    folder: Path, change: Callable[[dict[str, Tensor]], Any], told: str
) -> None:
    edit_tensors(folder, change)
    with pytest.raises(ValueError, match=told):
        from_pretrained(folder)


def test_files_that_are_damaged_missing_or_outside_are_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="cannot be read"):
        from_pretrained(folder)
    path.unlink()
    with pytest.raises(ValueError, match=r"no model.safetensors or pytorch_model.bin"):
        from_pretrained(folder)
    index = folder / "model.safetensors.index.json"
    (folder.parent / "x.safetensors").write_bytes(data)
    for places, told in (
        ({"lm_head.weight": "../x.safetensors"}, "names '../x.safetensors'"),
        ({"lm_head.weight": "gone.safetensors"}, "names 'gone.safetensors'"),
        ({"lm_head.weight": 3}, 'no "weight_map"'),
    ):
        index.write_text(json.dumps({"weight_map": places}))
        with pytest.raises(ValueError, match=told):
            from_pretrained(folder)
    (folder / "x.safetensors").write_bytes(data)
    index.write_text(json.dumps({"weight_map": {"lost": "x.safetensors"}}))
    with pytest.raises(ValueError, match="no file holds lost"):
        from_pretrained(folder)
    index.unlink()
    torch.save([1, 2], folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match="something else than tensors"):
        from_pretrained(folder)


def add_tokenizer(folder: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())[: WORDS - 3]
    words = {"<unk>": 0, "<s>": 1, "</s>": 2, **{c: 3 + k for k, c in enumerate(letters)}}
    made = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=words, merges=[]))
    made.decoder = tokenizers.decoders.ByteLevel()
    made.add_special_tokens(["<unk>", "<s>", "</s>"])
    made.save(str(folder / "tokenizer.json"))


def test_a_folder_becomes_a_run_with_its_tokenizer(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(ValueError, match=r"no tokenizer.json; give one with --set tokenizer"):
        import_checkpoint(folder, out)
    assert not out.exists()
    add_tokenizer(folder)
    edit(folder, bos_token_id=1, eos_token_id=2)
    run = import_checkpoint(folder, out, ["linear=spiking"])
    assert tell_checkpoint(run).endswith(
        "3 layers of width 12, ternary maps with up to 4 spikes an input, 40 tokens; weights "
        "in float32"
    )
    opened = open_folder(out)
    assert opened.config == run.config
    tokenizer = find_tokenizer(opened.config)
    assert (tokenizer.begin, tokenizer.end) == (1, 2)
    want, _ = from_pretrained(folder, ["linear=spiking"])
    tokens = torch.tensor([[5], [9], [30]])
    assert torch.equal(load_trained_model(opened)(tokens)[0], want(tokens)[0])
    assert json.loads((out / "origin.json").read_text())["folder"] == str(folder)
    with pytest.raises(RunError, match=r"run exists; name another folder with --out"):
        import_checkpoint(folder, out)


def test_only_folders_with_a_model_type_are_checkpoints(folder: Path, tmp_path: Path) -> None:
    assert is_checkpoint(folder)
    assert not is_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text('{"task": "language"}')
    assert not is_checkpoint(tmp_path)


@pytest.mark.parametrize("change", [{"stack": "hgrn*3"}, {"linear": "float"}, {"eps": 1e-5}])
def test_only_matmul_free_models_are_written(
    change: dict[str, Any], config: LanguageConfig, tmp_path: Path
) -> None:
    other = replace(config, **change)
    with pytest.raises(ValueError, match="holds MLGRUs with ternary maps"):
        save_pretrained(tmp_path / "x", LanguageModel(other), other)


def test_a_folder_is_never_overwritten(folder: Path, config: LanguageConfig) -> None:
    with pytest.raises(StoreError, match="exists; name a new folder"):
        save_pretrained(folder, LanguageModel(config), config)
