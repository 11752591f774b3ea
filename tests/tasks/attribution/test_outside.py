"""Detectors of a whole model: what they read, and what they find."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from drivers.text import Authors
from tasks.attribution.config import AttributionConfig, tiny
from tasks.attribution.detectors import KINDS, Contrast, Foreign, score_energy
from tasks.attribution.documents import find_authors, load
from tasks.attribution.model import AttributionModel, SpikingProbe, build, compute_token_nats
from tasks.attribution.outside import (
    N_GRAM,
    ORACLE,
    Compared,
    compare_foreign,
    draw_foreign,
    make_detectors,
    make_views,
    measure_foreign,
    pool_states,
    read_documents,
    tabulate_foreign,
)

CONTRAST = Contrast(hidden=8, width=4, crops=2, batch=16, steps=5)


def make_config() -> AttributionConfig:
    return replace(
        tiny(),
        width=8,
        hidden=8,
        heads=2,
        vocabulary=8,
        tokens=24,
        documents=200,
        held_out=10,
        train=60,
        val=20,
        test=50,
        composed=4,
        outside=40,
        probe_width=6,
    )


@cache
def compare() -> dict[Foreign, Compared]:
    """Of a model that has learned nothing; what the text says does not depend on it."""
    config = make_config()
    return compare_foreign(config, build(config))


def test_what_is_read_is_what_the_model_says() -> None:
    config = make_config()
    model, tokens = build(config).eval(), load(config, "test").tokens
    read = read_documents(model, tokens)
    with torch.no_grad():
        logits, nats = model(tokens).mean(0), compute_token_nats(model.lm, tokens).sum(0)
    np.testing.assert_allclose(read.logits, logits.double().numpy(), atol=1e-5)
    np.testing.assert_allclose(read.nats, nats.double().numpy(), rtol=1e-5)
    assert read.features is not None
    assert read.features.shape == (50, 6)
    energy = make_detectors(config, model, CONTRAST)["energy"](read)
    np.testing.assert_allclose(energy, score_energy(logits.double().numpy()), atol=1e-5)


def test_a_spiking_probe_is_read_by_its_rates_and_membranes() -> None:
    config = replace(make_config(), arm="alif")
    model, tokens = build(config).eval(), load(config, "test").tokens
    assert isinstance(model.probe, SpikingProbe)
    with torch.no_grad():
        model.probe.network.get_parameter("fc1.weight").mul_(10)  # so that all fire
    read = read_documents(model, tokens)
    with torch.no_grad():
        membranes = model(tokens).mean(0)
    np.testing.assert_allclose(read.logits, membranes.double().numpy(), atol=1e-5)
    assert read.features is not None
    assert read.features.shape == (50, config.probe_width)
    counts = read.features * config.tokens
    np.testing.assert_allclose(counts, counts.round(), atol=1e-4)
    assert 0 < counts.mean() < config.tokens
    energy = make_detectors(config, model, CONTRAST)["energy"](read)
    np.testing.assert_allclose(energy, score_energy(membranes.double().numpy()), atol=1e-5)


def test_views_are_states_of_crops_and_of_the_same_tokens_shuffled() -> None:
    config = make_config()
    model = build(config).eval()
    views = make_views(config, model, 2)
    assert views.crops.shape == views.shuffled.shape == (2, 60, 6)
    assert torch.equal(views.labels, load(config, "train").labels)
    again = make_views(config, model, 2)
    assert torch.equal(views.crops, again.crops)
    assert not torch.allclose(views.crops, views.shuffled)


def test_text_alone_is_the_mixture_of_its_n_grams_and_the_oracle_a_ratio() -> None:
    config = make_config()
    model, tokens = build(config), load(config, "unseen").tokens
    found = make_detectors(config, model, CONTRAST)[ORACLE](read_documents(model, tokens))
    authors: Authors = find_authors(config)
    p = np.exp(authors.compute_log_p(tokens.numpy()).sum(1))
    np.testing.assert_allclose(found, np.log(p[3:].mean(0)) - np.log(p[:3].mean(0)))


@pytest.mark.slow
def test_the_oracle_finds_what_others_wrote_and_has_no_memory() -> None:
    found = measure_foreign(compare())
    assert set(found[ORACLE]) == {"free", "unseen", "spliced", "generated", "fresh"}
    for kind, least in (("free", 0.95), ("unseen", 0.95), ("spliced", 0.8)):
        assert found[ORACLE][kind].auroc > least
        assert found[N_GRAM][kind].auroc > 0.6
    assert found[ORACLE]["fresh"].auroc == pytest.approx(0.5, abs=0.15)
    one = found["k-NN"]["unseen"]
    assert (one.known, one.foreign) == (50, 40)
    assert {f"filter, {kind}" for kind in KINDS} < set(found)


def test_a_table_and_a_picture_show_every_detector_and_kind(tmp_path: Path) -> None:
    found = measure_foreign(compare())
    table = tabulate_foreign(found)
    assert [row[0] for row in table.rows] == list(found)
    assert table.head == ("detector", "free", "unseen", "spliced", "generated", "fresh")
    one = found["softmax"]["free"]
    assert table.rows[0][1] == f"{one.auroc:.3f} / {one.aupr:.3f} / {one.fpr95:.0%}"
    assert "free 0.44" in table.caption  # 40 of 90
    picture = draw_foreign(compare(), tmp_path)
    assert (tmp_path / picture.file).stat().st_size > 10_000


def test_without_a_probe_the_text_is_left() -> None:
    config = replace(make_config(), arm="lm")
    model = build(config)
    assert list(make_detectors(config, model, CONTRAST)) == [
        "perplexity",
        "perplexity / zlib",
        N_GRAM,
        ORACLE,
    ]
    assert isinstance(model, AttributionModel)
    with pytest.raises(ValueError, match="has no probe, whose states could be pooled"):
        pool_states(model, load(config, "test").tokens)
    without = replace(config, free=0, unseen=0)
    assert ORACLE not in make_detectors(without, model, CONTRAST)
