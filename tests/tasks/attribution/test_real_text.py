"""Real text as documents: each from a file of its own part, composed ones from stretches."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from corpus_files import NAMES, PILE_NAMES, write_corpus_folders, write_pile
from small_attribution import small_attribution

from neuro.io.run_folder import RunError
from neuro.io.store import StoreError
from tasks.attribution.answers import measure_gap
from tasks.attribution.config import AttributionConfig, full
from tasks.attribution.deployment import count_costs
from tasks.attribution.detectors import Contrast, Projector
from tasks.attribution.documents import (
    PARTS,
    count_documents,
    load,
    read_corpora,
    require_apart,
)
from tasks.attribution.model import build, make_lm
from tasks.attribution.task import find_lm
from tasks.runs.configuration import require_sound

SIZES = {
    **{"documents": 60, "held_out": 9, "train": 20, "val": 8, "test": 10},
    **{"composed": 6, "outside": 5, "vocabulary": 256},
}


def make(data: Path, **change: object) -> AttributionConfig:
    config = replace(
        small_attribution(),
        **{**SIZES, "source": "folders", "data": str(data), "protected": 3, **change},
    )
    require_sound(config)
    return config


def read_texts(data: Path, name: str) -> str:
    """Return all texts of a corpus of folders."""
    return "".join(p.read_text() for p in sorted((data / name).iterdir()))


def test_documents_are_stretches_of_files_of_their_corpora(tmp_path: Path) -> None:
    config = make(write_corpus_folders(tmp_path, each=24))
    texts = [read_texts(tmp_path, name) for name in NAMES]
    for part in PARTS:
        own = load(config, part)
        assert own.tokens.shape == (24, count_documents(config)[part])
        for tokens, sources in zip(own.tokens.T, own.sources.T, strict=True):
            switches = (torch.nonzero(sources.diff()).flatten() + 1).tolist()
            assert bool(switches) == (part == "composed")
            for start, stop in pairwise([0, *switches, 24]):
                piece = bytes(tokens[start:stop].tolist()).decode()
                assert piece in texts[int(sources[start])]
    assert load(config, "unseen").labels.unique().tolist() == [4]
    require_apart(config)
    assert torch.equal(load(config, "test").tokens, load(replace(config), "test").tokens)


def test_names_say_which_corpora_in_which_order(tmp_path: Path) -> None:
    write_corpus_folders(tmp_path, each=24)
    names = ("songs", "fables", "tables", "letters")
    config = make(tmp_path, protected=2, names=names)
    assert [corpus.name for corpus in read_corpora(config)] == list(names)
    (first, *_) = load(config, "test").select(load(config, "test").labels == 0).tokens.T
    assert bytes(first.tolist()).decode() in read_texts(tmp_path, "songs")
    wrong = make(tmp_path, names=("hymns", "songs", "odes", "tables", "letters"))
    with pytest.raises(RunError, match="no corpus hymns, odes; there are fables, "):
        read_corpora(wrong)


def test_matched_corpora_are_other_files_of_the_protected_ones(tmp_path: Path) -> None:
    config = make(write_corpus_folders(tmp_path, NAMES[:4], each=24), matched=True, unseen=2)
    unseen = load(config, "unseen")
    assert unseen.labels.unique().tolist() == [4, 5]
    for tokens, label in zip(unseen.tokens.T, unseen.labels.tolist(), strict=True):
        assert bytes(tokens.tolist()).decode() in read_texts(tmp_path, NAMES[label - 4])
    require_apart(config)


def test_the_pile_is_read_by_its_names(tmp_path: Path) -> None:
    path = write_pile(tmp_path / "00.jsonl", each=24)
    config = make(path, source="pile", protected=2, names=PILE_NAMES)
    assert load(config, "train").tokens.shape == (24, 20)
    gap = measure_gap(config, make_lm(config, 0))
    assert not gap.exact
    assert gap.aware < gap.pooled


def test_another_number_of_corpora_is_refused_with_their_names(tmp_path: Path) -> None:
    write_corpus_folders(tmp_path, NAMES[:3], each=2)
    with pytest.raises(RunError, match=r"needs 5 corpora .* there are 3: fables, letters, rec"):
        load(make(tmp_path), "test")
    with pytest.raises(StoreError, match=r"(?s)fables: 2 documents for 6 splits.*letters: "):
        load(make(tmp_path, protected=2, free=0), "test")


def test_fields_that_do_not_hold_together_are_told_at_once() -> None:
    wrong = replace(
        small_attribution(), data="x", names=("a", "a"), tokenizer="t", source="authors"
    )
    with pytest.raises(ValueError, match="cannot be used") as told:
        require_sound(wrong)
    for words in ("data is 'x'", "has 2 items", "names has items", "twice", "tokenizer is 't'"):
        assert words in str(told.value)
    with pytest.raises(ValueError, match=r"(?s)vocabulary=256.*it must be the path"):
        require_sound(replace(small_attribution(), source="pile"))


def test_a_tokenizer_larger_than_the_vocabulary_is_refused(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    words = {f"w{k}": k for k in range(300)}
    model = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="w0"))
    model.save(str(tmp_path / "t.json"))
    data = write_corpus_folders(tmp_path / "c", each=2)
    config = make(data, tokenizer=str(tmp_path / "t.json"))
    with pytest.raises(RunError, match="300 tokens, and vocabulary is 256; set vocabulary=300"):
        load(config, "test")


@pytest.mark.parametrize("change", [{"test": 11}, {"outside": 4}, {"unseen": 2}])
def test_a_language_model_of_other_parts_has_read_other_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, int]
) -> None:
    """Files are shared out by the sizes of all parts, so it may have read what a test asks."""
    config = make(tmp_path)
    run = SimpleNamespace(config=replace(config, arm="lm", **change))  # type: ignore[arg-type]
    monkeypatch.setattr("tasks.attribution.task.open_folder", lambda _: run)
    with pytest.raises(RunError, match=f"differs in {next(iter(change))} "):
        find_lm(replace(config, lm="runs/lm"))


def test_the_full_size_is_the_published_one() -> None:
    config = full()
    with torch.device("meta"):
        model = build(config)
    costs = count_costs(config)
    # Published: 374,108,160 of a vocabulary of 32,000; a begin token has a row in two tables.
    assert costs["lm"].parameters == 374_108_160 + 2 * 1024
    token = 24 * (4 * 1024**2 + 2 * 1024 + 3 * 1024 * 2816)
    assert costs["lm"].macs == 513 * token == 158_173_544_448
    lstm = 4 * 512 * (1024 + 512 + 2)
    assert costs["probe"].parameters == 24 + lstm + 512 * 3 + 3
    assert costs["probe"].macs == 512 * (24 * 1024 + 4 * 512 * (1024 + 512) + 512 * 3)
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    assert shapes["lm.blocks.23.up.weight"] == (5632, 1024)
    assert shapes["lm.embedding.weight"] == shapes["lm.head.weight"] == (32_001, 1024)
    assert shapes["probe.lstm.weight_ih_l0"] == (2048, 1024)
    with torch.device("meta"):  # the filter reads what the probe's read-out is given
        contrast = Projector(config.probe_width, Contrast())
    assert contrast(torch.empty(7, 512, device="meta")).shape == (7, 32)
    assert sum(p.numel() for p in contrast.parameters()) == 512 * 64 + 64 + 64 * 32 + 32
    spiking = replace(config, arm="alif")
    with torch.device("meta"):
        first = build(spiking).probe.network.get_parameter("fc1.weight")
    assert first.shape == (512, 2 * 24 * 1024)
    assert count_costs(spiking)["probe"].macs == 512 * 512 * (2 * 24 * 1024 + 512 + 3)
