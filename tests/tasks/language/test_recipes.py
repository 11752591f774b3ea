import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from command_line import CommandLine
from torch import nn

from neuro.base.seeds import seeded
from neuro.training.plan import scale_lr
from tasks.cli import main
from tasks.language.config import LanguageConfig, matmulfree_1b, matmulfree_370m, small
from tasks.language.recipes import make_plan
from tasks.language.task import build

SMALL = LanguageConfig(
    stack="rwkv6*2", block="rwkv", recipe="rwkv", width=16, hidden=24, heads=2, decay=0.1
)


def group_by_name(config: LanguageConfig) -> dict[str, tuple[float, float]]:
    """Return (learning rate, weight decay) of each parameter."""
    model = build(config)
    optimizer = make_plan(config).build_optimizer(model)
    names = {id(p): name for name, p in model.named_parameters()}
    assert optimizer.defaults["betas"] == (0.9, 0.99)
    assert optimizer.defaults["eps"] == 1e-18
    return {
        names[id(p)]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for p in group["params"]
    }


@pytest.mark.parametrize(
    ("stack", "shift"), [("rwkv5*2", "time_mix_k"), ("rwkv6*2", "time_maa_k")]
)
@pytest.mark.parametrize("block", ["rwkv", "gated"])
def test_rwkv_learns_decays_twice_as_fast(stack: str, shift: str, block: str) -> None:
    config = replace(SMALL, stack=stack, block=block, lr=1.0)
    found = group_by_name(config)
    at = "blocks.1.att." if block == "rwkv" else "blocks.1.mixer."
    assert found[f"{at}time_decay"] == (2.0, 0.0)
    assert found[f"{at}time_faaaa"] == (1.0, 0.0)
    assert found[f"{at}{shift}"] == (1.0, 0.0)
    assert found[f"{at}key.weight"] == (1.0, 0.1)
    assert found[f"{at}ln_x.weight"] == (1.0, 0.0)
    if stack == "rwkv6*2":
        assert found[f"{at}time_decay_w1"] == (1.0, 0.0)
        assert found[f"{at}time_maa_w2"] == (1.0, 0.0)
    if block == "rwkv":
        assert found[f"blocks.1.ffn.{shift}"] == (1.0, 0.0)
        assert found["blocks.1.ffn.value.weight"] == (1.0, 0.1)


@pytest.mark.parametrize("block", ["rwkv", "gated"])
def test_goose_learns_its_decay_twice_as_fast_too(block: str) -> None:
    found = group_by_name(replace(SMALL, stack="rwkv7*2", block=block, lr=1.0))
    at = "blocks.1.att." if block == "rwkv" else "blocks.1.mixer."
    assert found[f"{at}w0"] == (2.0, 0.0)
    for name in ("w1", "w2", "a0", "a1", "a2", "g1", "g2", "x_r", "x_w", "k_k", "k_a", "r_k"):
        assert found[f"{at}{name}"] == (1.0, 0.0)
    assert found[f"{at}key.weight"] == (1.0, 0.1)
    if block == "rwkv":
        assert [found[f"{at}v{k}"] for k in range(3)] == 3 * [(1.0, 0.0)]
        assert found["blocks.1.ffn.x_k"] == (1.0, 0.0)
        assert found["blocks.1.ffn.key.weight"] == (1.0, 0.1)
    assert f"{at.replace('1', '0')}v0" not in found  # the first layer has no residual


def test_matmulfree_halves_its_learning_rate_midway() -> None:
    config = replace(small(), recipe="matmulfree", lr=2.0, warm=0.25, steps=8, validations=4)
    plan, plain = make_plan(config), make_plan(replace(config, recipe="plain"))
    optimizer = plan.build_optimizer(nn.Linear(2, 2))
    schedule = plan.build_schedule(optimizer, 2)
    rates = []
    for _ in range(8):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    half = [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5]
    expected = [f * scale_lr(plain.lr, plain.warm, k / 8) for k, f in enumerate(half)]
    assert rates == pytest.approx(expected, abs=1e-12)
    assert {c().recipe for c in (matmulfree_370m, matmulfree_1b)} == {"matmulfree"}


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(ValueError, match=r"and mlgru\*4 has none; take 'plain'"):
        make_plan(replace(small(), recipe="rwkv"))
    for wrong in ({"stack": "rwkv5+rwkv6"}, {"stack": "mlgru*2"}, {"linear": "ternary"}):
        with pytest.raises(ValueError, match="Use a stack of rwkv5, rwkv6 or rwkv7 alone"):
            replace(SMALL, **wrong)
    with pytest.raises(ValueError, match="RWKV: width 16 is not a multiple of 3"):
        build(replace(SMALL, heads=3))


@pytest.mark.parametrize("stack", ["rwkv5*2", "rwkv6*2", "rwkv7*2"])
def test_whole_rwkv_blocks_begin_as_published_and_go_on_in_parts(stack: str) -> None:
    with seeded(0):
        model = build(replace(SMALL, stack=stack))
        tokens = torch.randint(256, (9, 2))
    assert not model.blocks[1].ffn.value.weight.any()
    assert model.emb.weight.abs().max() <= 1e-4
    with torch.no_grad():
        whole, end = model(tokens)
        first, state = model(tokens[:4])
        rest, state = model(tokens[4:], state)
    torch.testing.assert_close(torch.cat([first, rest]), whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(state, end, rtol=1e-4, atol=1e-5)


TASK_FILE = """
from dataclasses import replace
from tasks.language import TASK as WHOLE
from tasks.language.config import small_{name}


def tiny():
    return replace(
        small_{name}(), stack="rwkv{version}", width=16, hidden=24, heads=2, text={text!r},
        tokens=16, lanes=4, steps=40, validations=2, lr=2e-2,
    )


TASK = replace(WHOLE, configs={{"tiny": tiny}})
"""


def test_finch_is_trained_measured_and_writes(tmp_path: Path, cli: CommandLine) -> None:
    text, task, run = tmp_path / "a.txt", tmp_path / "task.py", tmp_path / "run"
    text.write_bytes(b"".join(b"%d and %d.\n" % (k, k % 5) for k in range(900)))
    task.write_text(TASK_FILE.format(name="finch", version=6, text=str(text)))
    main(["train", str(task), "--out", str(run)])
    rows = [json.loads(x) for x in (run / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["val_bits_per_byte"] < rows[0]["val_bits_per_byte"] < 8
    assert cli.run("generate", run, "--prompt", "7 and", "--tokens", "9").startswith("7 and")
    assert "only ternary and spiking models can be packed" in cli.refuse("pack", run)
