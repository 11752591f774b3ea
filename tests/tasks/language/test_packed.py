from dataclasses import replace
from pathlib import Path

import pytest
import torch

from neuro.base.seeds import seeded
from neuro.io.run_folder import Run, RunError, begin_run
from neuro.io.store import StoreError, load_tensors, save_tensors
from neuro.nn.ternary import pack_model
from tasks.language.config import LanguageConfig, matmulfree_370m
from tasks.language.model import LanguageModel
from tasks.language.packed import load_packed, make_empty, measure_size, save_packed
from tasks.language.writer import Writer, generate_text, load_writer

SMALL = LanguageConfig(
    stack="mlgru*2+softmax", width=132, hidden=70, heads=2, linear="spiking", ticks=3
)
TOKENS = torch.arange(14).view(7, 2)


def make(config: LanguageConfig) -> LanguageModel:
    with seeded(0):
        return LanguageModel(config).eval()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_packed(tmp_path / "m", pack_model(make(SMALL)), SMALL)
    return tmp_path / "m"


@pytest.mark.parametrize("linear", ["ternary", "spiking"])
def test_logits_and_states_are_those_of_the_model_bit_for_bit(
    linear: str, tmp_path: Path
) -> None:
    config = replace(SMALL, linear=linear)
    model = make(config)
    save_packed(tmp_path / "m", pack_model(model), config)
    loaded, found = load_packed(tmp_path / "m")
    assert found == config
    assert not loaded.training
    with torch.no_grad():
        expected, logits = (m(TOKENS) for m in (model, loaded))
        torch.testing.assert_close(logits, expected, rtol=0, atol=0)
        one = [m(TOKENS[:1] + 1, expected[1]) for m in (model, loaded)]
    torch.testing.assert_close(*one, rtol=0, atol=0)


def test_ternary_weights_take_at_most_2_2_bits_in_memory_and_on_disk(file: Path) -> None:
    size = measure_size(load_packed(file)[0])
    d, h = 132, 70
    layers = [*[(d, d)] * 12, *[(d, 2 * h), (h, d)] * 3, (d, 256)]
    assert size.weights == sum(n * m for n, m in layers)
    assert size.packed == sum(-(-n // 4) * m + 4 for n, m in layers)
    assert size.bits == 8 * size.packed / size.weights < 2.2
    header = 200 * len(load_packed(file)[0].state_dict())
    assert size.packed + size.rest < file.stat().st_size < size.packed + size.rest + header


def test_the_published_370m_takes_2_bits_a_weight() -> None:
    size = measure_size(make_empty(matmulfree_370m()))
    assert size.weights == 374_108_160 - 32_000 * 1024 - 24 * 12_032 - 2 * 1024
    assert size.bits == pytest.approx(2, abs=1e-4)
    assert size.rest == 4 * (32_000 * 1024 + 24 * 12_032 + 2 * 1024)


def test_a_damaged_or_cut_file_is_refused_by_its_name(file: Path) -> None:
    whole = file.read_bytes()
    for data in (whole[:-1], whole[:3000], b"", whole[:-9] + b"\1" + whole[-8:]):
        file.write_bytes(data)
        with pytest.raises(StoreError, match=f"{file}: damaged or cut short"):
            load_packed(file)
    file.unlink()
    with pytest.raises(StoreError, match="no such file; neuro pack writes one"):
        load_packed(file)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t, _: t.pop("head.packed"), "head.packed differ in name, shape or dtype"),
        (lambda t, _: t.update(more=torch.zeros(1)), "more differ in name"),
        (lambda t, _: t["head.packed"][0].fill_(0b11000000), "head.packed: holds a code that"),
        (lambda t, _: t["head.packed"][0].fill_(0b00000011), "head.packed: holds a code that"),
        (lambda t, _: t["head.scale"].fill_(torch.nan), "head.scale hold values that are not"),
        (lambda t, _: t["norm.weight"][3].fill_(torch.inf), "norm.weight hold values that are"),
        (lambda _, c: c["config"].update(width=136), "differ in name, shape"),
        (lambda _, c: c["config"].update(linear="float"), "has no BitLinear"),
        (lambda _, c: c["config"].update(ticks=200), "ticks must be from 1 to 127"),
        (lambda _, c: c["config"].update(width=2**62), "Storage size calculation overflowed"),
        (lambda _, c: c.update(more=1), "holds more than a configuration"),
    ],
)
def test_what_no_packed_model_holds_is_refused(file: Path, change: object, told: str) -> None:
    tensors, meta = load_tensors(file, "packed")
    change(tensors, meta)  # type: ignore[operator]
    save_tensors(file, "packed", tensors, meta)
    with pytest.raises(StoreError, match=f"{file}: no whole packed model .*{told}"):
        load_packed(file)


def test_a_model_that_is_not_finite_is_not_written(tmp_path: Path) -> None:
    model = make(SMALL)
    with torch.no_grad():
        model.head.weight.fill_(3e38)  # whose mean overflows
    with pytest.raises(ValueError, match=r"m is not written: head.scale hold values that are"):
        save_packed(tmp_path / "m", pack_model(model), SMALL)
    assert not (tmp_path / "m").exists()


def test_a_float_model_has_nothing_to_pack(tmp_path: Path) -> None:
    config = replace(SMALL, linear="float")
    begin_run(
        Run(folder=tmp_path, task="language", name="tiny", seed=0, config=LanguageConfig())
    )
    with pytest.raises(RunError, match="has float weights: only ternary and spiking"):
        load_writer(tmp_path, packed=True)
    with pytest.raises(RunError, match="--tokens must be >= 0, got -1"):
        list(generate_text(Writer(make(config), config), "", -1, 1.0, 0))
