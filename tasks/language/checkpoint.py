"""Folders of published language models, as Hugging Face names their files.

A folder holds ``config.json``, ``*.safetensors`` or ``pytorch_model*.bin`` in one piece or in
shards, and a tokenizer. MatMul-free models (``model_type`` "hgrn_bit"; Zhu et al. 2024, arXiv
2406.02528, github.com/ridgerchu/matmulfreellm) become a :class:`LanguageModel` in float32,
whatever the precision of the files. Their fused maps add 1e-6 to mean squares.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict

import torch
from safetensors.torch import save_file
from torch import Tensor

from neuro.base.version import __version__
from neuro.io.run_folder import RunError, begin_run
from neuro.io.schema import SchemaError, convert
from neuro.io.store import StoreError, is_free, read_json, rename_when_whole, write_json
from neuro.nn.ternary import EPS
from neuro.training.checkpoint import BEST, get_weights, save_weights
from tasks.language.config import LanguageConfig, matmulfree_370m
from tasks.language.data import digest_file, find_tokenizer
from tasks.language.model import LanguageModel
from tasks.language.tensor_files import WHOLE, list_misfits, read_tensors
from tasks.runs.find import make_run
from tasks.runs.settings import set_fields
from tasks.runs.task import TaskRun

FILE, ORIGIN = "config.json", "origin.json"
KIND = "hgrn_bit"
SIZES = {
    (24, 1024): "matmulfree_370m",
    (24, 2048): "matmulfree_1b",
    (32, 2560): "matmulfree_3b",
}
FIXED: Mapping[str, tuple[Any, str]] = {  # fields of which one value is known here
    "num_heads": (1, "one head"),
    "expand_ratio": (1, "states as wide as the model"),
    "use_short_conv": (False, "no convolutions"),
    "use_lower_bound": (True, "floors of the forget gates"),
    "hidden_act": ("swish", "SiLU"),
    "tie_word_embeddings": (False, "a read-out of its own"),
    "rms_norm_eps": (EPS, "the number that its fused maps add"),
}
OUTER = {
    "embedding.weight": "model.embeddings.weight",
    "floors": "model.lower_bounds",
    "norm.weight": "model.norm.weight",
}
MIXER = {"forget": "f", "candidate": "i", "gate": "g", "output": "o"}
NORMS = {
    "mixer_norm.weight": "attn_norm.weight",
    "mixer.norm.weight": "attn.g_norm.weight",
    "unit_norm.weight": "mlp_norm.weight",
}
MAPS = {
    **{f"mixer.{ours}": f"attn.{theirs}_proj" for ours, theirs in MIXER.items()},
    "up": "mlp.gate_proj",
    "down": "mlp.down_proj",
}
TOLD = {"ternary": "{0.bits}-bit inputs", "spiking": "up to {0.ticks} spikes an input"}


class CheckpointSizes(TypedDict):
    """The fields of ``config.json`` that determine the shapes of the tensors."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int


def is_checkpoint(path: Path) -> bool:
    """Say whether a path is a folder that ``config.json`` calls a model of some type."""
    if not (path / FILE).is_file():
        return False
    values = read_json(path / FILE)
    return isinstance(values, Mapping) and "model_type" in values


def from_pretrained(
    folder: str | Path, settings: Sequence[str] = ()
) -> tuple[LanguageModel, LanguageConfig]:
    """Return the model in a folder, in evaluation mode, and its configuration.

    settings: values of fields, as of ``--set``: ``linear=spiking`` and ``threshold=0.375``
    replace the 8-bit inputs of the maps by counts of spikes, without training.

    Raises:
        ValueError: the model is of another kind; a field has a value that is not known here;
            tensors are missing, unknown, of another shape, or not finite; a file is damaged.
        StoreError: ``config.json`` is missing or no JSON.
    """
    folder = Path(folder)
    config = set_fields(read_config(folder), settings)
    if config.linear not in TOLD:
        raise ValueError(
            f"linear is {config.linear!r}; it must be ternary or spiking for the ternary "
            f"weights in {folder}. Use --set linear=spiking, or leave it out."
        )
    tensors = read_tensors(folder)
    with torch.device("meta"):
        model = LanguageModel(config)
    names = {ours: rename(ours) for ours in model.state_dict()}
    _require_fitting(folder, model, names, tensors)
    state = {ours: tensors[theirs].float() for ours, theirs in names.items()}
    model.load_state_dict(state, assign=True)
    return model.eval(), config


def save_pretrained(folder: str | Path, model: LanguageModel, config: LanguageConfig) -> None:
    """Write a MatMul-free model as :func:`from_pretrained` and the published code read it.

    Counts of spikes are written as the 8-bit inputs that the published code has; the tokenizer
    is not written.

    Raises:
        ValueError: the model is not one of MLGRUs and ternary maps.
        StoreError: the folder exists and is not empty.
    """
    folder = Path(folder)
    as_published = config.linear in ("ternary", "spiking") and config.bits == 8
    if set(config.layers) != {"mlgru"} or not as_published or config.eps != EPS:
        raise ValueError(
            f"a folder of {KIND} holds MLGRUs with ternary maps and eps {EPS:g}; this model "
            f"has stack {config.stack}, linear {config.linear!r}, bits {config.bits} and eps "
            f"{config.eps:g}: use neuro pack, or the run folder as it is"
        )
    if not is_free(folder):
        raise StoreError(f"{folder} exists; name a new folder")
    fields = {
        "model_type": KIND,
        "architectures": ["HGRNBitForCausalLM"],
        "vocab_size": config.vocabulary,
        "hidden_size": config.width,
        "num_hidden_layers": len(config.layers),
        "intermediate_size": config.hidden,
        "torch_dtype": "float32",
        **{name: value for name, (value, _) in FIXED.items()},
    }
    weights = get_weights(model).items()
    learned = ".quantise.log_threshold"  # of spike counts, which are not written
    tensors = {rename(k): v.contiguous() for k, v in weights if not k.endswith(learned)}
    with rename_when_whole(folder) as part:
        write_json(part / FILE, fields)
        save_file(tensors, part / WHOLE[0], metadata={"format": "pt"})


def import_checkpoint(folder: Path, out: Path, settings: Sequence[str] = ()) -> TaskRun:
    """Make a run of the task language from a folder; every verb then takes it.

    Raises:
        RunError: ``out`` exists.
        ValueError, StoreError: as :func:`from_pretrained`, or the tokenizer cannot be read.
    """
    if not is_free(out):
        raise RunError(f"{out} exists; name another folder with --out, or delete it")
    model, config = from_pretrained(folder, settings)
    name = SIZES.get((len(config.layers), config.width), "small_matmulfree")
    run = replace(make_run(f"language:{name}", out, pin=False), config=_pin_tokenizer(config))
    with rename_when_whole(out) as part:
        digest = begin_run(replace(run, folder=part))
        meta = {"epoch": 0, "score": None, "run": digest}
        save_weights(part / BEST, get_weights(model), meta)
        write_json(part / ORIGIN, {"folder": str(folder.resolve()), "neuro": __version__})
    return run


def tell_checkpoint(run: TaskRun) -> str:
    """Return a sentence about an imported model."""
    config: LanguageConfig = run.config
    return (
        f"{run.folder}: {len(config.layers)} layers of width {config.width:,}, ternary maps "
        f"with {TOLD[config.linear].format(config)}, {config.vocabulary:,} tokens; weights in "
        "float32"
    )


def read_config(folder: Path) -> LanguageConfig:
    """Return the configuration of the model in a folder, without its tensors.

    Raises:
        ValueError: see :func:`from_pretrained`.
        StoreError: ``config.json`` is missing or no JSON.
    """
    path = folder / FILE
    values = read_json(path)
    kind = values.get("model_type") if isinstance(values, Mapping) else None
    if kind != KIND:
        raise ValueError(
            f"{path}: model_type is {kind!r}; it must be {KIND!r} (MatMul-free language models)"
            ". RWKV-5, 6 and 7 are read by tasks.language.rwkv.load_rwkv."
        )
    wrong = [
        f"{name} is {values[name]!r}; it must be {known!r} ({what})"
        for name, (known, what) in FIXED.items()
        if values.get(name, known) != known
    ]
    if wrong:
        raise ValueError(f"{path}: {'; '.join(wrong)}. Another network would be computed.")
    try:
        sizes = convert(
            {k: values.get(k) for k in CheckpointSizes.__annotations__}, CheckpointSizes
        )
        hidden = convert(_find_hidden(values), int)
    except SchemaError as error:
        raise ValueError(f"{path}: {error}; restore the file from where it was") from error
    return replace(
        matmulfree_370m(),
        stack=f"mlgru*{sizes['num_hidden_layers']}",
        width=sizes["hidden_size"],
        hidden=hidden,
        vocabulary=sizes["vocab_size"],
        lanes=12,
        held_out=LanguageConfig.held_out,
        **_describe_tokenizer(folder / "tokenizer.json", values),
    )


def _find_hidden(values: Mapping[str, Any]) -> Any:
    """Return the width of gated linear units, which the published code derives if absent."""
    if (given := values.get("intermediate_size")) is not None:
        return given
    ratio = values.get("hidden_ratio") or 4
    return -(-int(values["hidden_size"] * ratio * 2 / 3) // 256) * 256


def _describe_tokenizer(path: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the tokenizer, with the tokens that begin and end a text."""
    if not path.is_file():
        return {}
    stored = read_json(path)
    added = {t["id"]: t["content"] for t in stored.get("added_tokens", [])}
    ids = {"begin": values.get("bos_token_id", 1), "end": values.get("eos_token_id", 2)}
    ends = {field: added[number] for field, number in ids.items() if number in added}
    return {"tokenizer": str(path.resolve()), **ends}


def _pin_tokenizer(config: LanguageConfig) -> LanguageConfig:
    if not config.tokenizer:
        raise ValueError(
            "the folder holds no tokenizer.json; give one with --set tokenizer=FILE (from a "
            "tokenizer.model: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) of "
            "the library transformers writes it)"
        )
    find_tokenizer(config)
    return replace(config, tokenizer_digest=digest_file(config.tokenizer))


def rename(ours: str) -> str:
    """Return the published name of one of our tensors.

    >>> rename("blocks.3.mixer.candidate.gain")
    'model.layers.3.attn.i_proj.norm.weight'
    """
    if ours in OUTER:
        return OUTER[ours]
    stem, _, kind = ours.rpartition(".")
    suffix = "norm.weight" if kind == "gain" else "weight"
    if stem == "head":
        return f"lm_head.{suffix}"
    _, layer, place = ours.split(".", 2)
    inner = NORMS.get(place) or f"{MAPS[place.rpartition('.')[0]]}.{suffix}"
    return f"model.layers.{layer}.{inner}"


def _require_fitting(
    folder: Path, model: LanguageModel, names: Mapping[str, str], tensors: Mapping[str, Tensor]
) -> None:
    """Raise a ValueError that lists the tensors which do not fit the configuration."""
    wrong = list_misfits(model, tensors, names)
    wrong += [f"{n} holds {t.dtype}" for n, t in tensors.items() if not t.is_floating_point()]
    if wrong:
        raise ValueError(
            f"{folder}: not the tensors of its config.json: {'; '.join(wrong[:9])}"
        )
