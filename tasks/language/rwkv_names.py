"""Names in checkpoints of RWKV: which version they mean, and those of Hugging Face folders.

The names of the files at huggingface.co/BlinkDL are those of :mod:`tasks.language.rwkv`.
Folders with a config.json have others: those of the RWKV team for versions 5 and 6
(``rwkv.blocks.0.attention.key.weight``), and those of flash-linear-attention for version 7
(``model.layers.0.attn.k_proj.weight``).
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from neuro.base.arguments import describe

TAKE = "take a file named RWKV-5-World, RWKV-x060, RWKV-x070 or rwkv7"
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
UNUSED = {f"blocks.0.att.v{k}" for k in range(3)}  # in some files of RWKV-7, never read
OF_TEAM = (
    (r"^rwkv\.", ""),
    (r"^embeddings\.", "emb."),
    (r"\.pre_ln\.", ".ln0."),
    (r"\.attention\.", ".att."),
    (r"\.feed_forward\.", ".ffn."),
    (r"\.(time_mix_[kvrg])[a-z]*$", r".\1"),  # time_mix_key: time_mix_k
)
OF_FLA = (
    (r"^model\.embeddings\.", "emb."),
    (r"^model\.norm\.", "ln_out."),
    (r"^lm_head\.", "head."),
    (r"^model\.layers\.", "blocks."),
    (r"\.pre_norm\.", ".ln0."),
    (r"\.attn_norm\.", ".ln1."),
    (r"\.ffn_norm\.", ".ln2."),
    (r"\.attn\.", ".att."),
    (r"\.r_proj\.", ".receptance."),
    (r"\.k_proj\.", ".key."),
    (r"\.v_proj\.", ".value."),
    (r"\.o_proj\.", ".output."),
    (r"\.g_norm\.", ".ln_x."),
    (r"\.([wavg])_lora\.lora\.0\.weight$", r".\g<1>1"),
    (r"\.([wavg])_lora\.lora\.2\.weight$", r".\g<1>2"),
    (r"\.([wavg])_lora\.lora\.2\.bias$", r".\g<1>0"),
)
TELLING = {7: "r_k", 6: "time_maa_x"}
NAMES = {"rwkv5": OF_TEAM, "rwkv6": OF_TEAM, "rwkv7": OF_FLA}


def rename_huggingface(tensors: Mapping[Any, Any], model_type: str) -> dict[str, Tensor]:
    """Return the tensors of a Hugging Face folder by BlinkDL's names, in his shapes.

    tensors: those of all shards. model_type: that of the folder's config.json.

    Raises:
        ValueError: the folder is of another version, or holds something else than dense tensors
            of floating-point numbers.
    """
    if model_type not in NAMES:
        raise ValueError(
            f"model_type is {describe(model_type)}; it must be rwkv5, rwkv6 or rwkv7 (rwkv is "
            f"RWKV-4). Take a folder of one of these, or {TAKE}."
        )
    require_dense(tensors)
    if model_type == "rwkv6" and any(name.startswith("model.layers.") for name in tensors):
        raise ValueError(
            "the names of this rwkv6 folder are model.layers (of flash-linear-attention); they "
            "must be rwkv.blocks. Take the RWKV team's folder, such as RWKV/v6-Finch-1B6-HF."
        )
    found: dict[str, Tensor] = {}
    for name, t in tensors.items():
        short = name
        for pattern, text in NAMES[model_type]:
            short = re.sub(pattern, text, short)
        if model_type == "rwkv7" and short.endswith(".att.x_x"):  # older: six in one
            stem = short.removesuffix("x")
            found |= {
                f"{stem}{m}": row.view(1, 1, -1) for m, row in zip("rwkvag", t, strict=True)
            }
        elif model_type == "rwkv7" and re.search(r"\.(x_\w|[wav]0|k_[ka])$", short):
            found[short] = t.reshape(1, 1, -1)
        else:
            found[short] = t.mT.contiguous() if re.search(r"_lora\..*weight$", name) else t
    return found


def require_dense(tensors: Mapping[Any, Any]) -> None:
    """Raise unless a checkpoint maps names to dense tensors of floating-point numbers.

    Raises:
        ValueError: names the entries that are something else.
    """
    wrong = []
    for name, t in tensors.items():
        if not isinstance(name, str) or not isinstance(t, Tensor):
            wrong.append(f"{name!r} is {describe(t)}")
        elif t.is_meta or t.is_nested or t.layout is not torch.strided:
            wrong.append(f"{name} has no values" if t.is_meta else f"{name} is not dense")
        elif t.dtype not in FLOATS:
            wrong.append(f"{name} holds {t.dtype}")
    if wrong:
        raise ValueError(
            f"not the tensors of RWKV, dense, of 16, 32 or 64 bits: {'; '.join(wrong[:9])}"
        )


def find_version(tensors: Mapping[str, Tensor]) -> int:
    """Return 5, 6 or 7, by the names in the first block; 5 if nothing tells the version.

    Raises:
        ValueError: the tensors are of another version, or have the names of Hugging Face.
    """
    for stem in ("rwkv.", "model."):
        if any(name.startswith(stem) for name in tensors):
            raise ValueError(
                f"its names begin with {stem}; they must be BlinkDL's (blocks.0.att). Rename "
                "them first: tasks.language.rwkv_names.rename_huggingface."
            )
    other = _name_other(tensors)
    if other:
        raise ValueError(f"its version is RWKV-{other}; it must be 5.2, 6 or 7: {TAKE}")
    return next((v for v, name in TELLING.items() if f"blocks.0.att.{name}" in tensors), 5)


def _name_other(tensors: Mapping[str, Tensor]) -> str:
    """Return the version that the tensors are of, if it is none of 5.2, 6 and 7."""
    att, decay = "blocks.0.att.", tensors.get("blocks.0.att.time_decay")
    if "blocks.0.ffn.s_emb.weight" in tensors:
        return "7 with deep embeddings (7a or later)"
    if decay is None or f"{att}time_maa_x" in tensors:
        return ""
    if f"{att}ln_x.weight" not in tensors:
        return "4 or older"
    if f"{att}gate.weight" not in tensors:
        return "5.0"
    return "5.1" if decay.dim() < 2 or decay.shape[1] == 1 else ""
