"""TracIn, TRAK and the linear datamodeling score against dattri."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.testing import assert_close
from torch.utils.data import DataLoader, TensorDataset

from neuro.base.seeds import seeded
from tasks.attribution.causes import (
    EpochModel,
    Output,
    ScoredOutput,
    draw_projection,
    project_gradients,
    score_tracin,
    score_trak,
)
from tasks.attribution.config import tiny
from tasks.attribution.documents import Documents
from tasks.attribution.metrics import measure_lds
from tasks.attribution.model import SourceModel, make_lm
from tasks.attribution.retrain import list_subsets

pytest.importorskip("dattri", reason="dattri is not installed: pip install dattri")
# It imports a compiler of torch, which warns of itself.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script_method")

SMALL = replace(tiny(), width=8, hidden=8, heads=2, vocabulary=5, tokens=6)
LABELS = torch.arange(18) % 3


def make(seed: int) -> SourceModel:
    lm = make_lm(SMALL, seed)
    with seeded(seed):
        for p in lm.parameters():
            torch.nn.init.normal_(p, std=0.4)
    return lm


def draw(documents: int, seed: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(SMALL.vocabulary, (SMALL.tokens, documents), generator=rng)


TRAINING = Documents(draw(18, 0), LABELS.expand(SMALL.tokens, -1))
SCORED = draw(4, 1)


def load(tokens: Tensor) -> Any:
    return DataLoader(TensorDataset(tokens.T), batch_size=9)


def make_task(models: list[SourceModel], output: Output) -> Any:
    from dattri.task import AttributionTask

    module = ScoredOutput(models[0], output)

    def find_output(parameters: Any, batch: tuple[Tensor, ...]) -> Tensor:
        out: Tensor = torch.func.functional_call(module, parameters, (batch[0][:, None],))
        return out[0]

    states = [ScoredOutput(lm, output).state_dict() for lm in models]
    return AttributionTask(loss_func=find_output, model=module, checkpoints=states)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_tracin(seeds: tuple[int, ...]) -> None:
    from dattri.algorithm.tracin import TracInAttributor

    models, rates = [make(seed) for seed in seeds], torch.tensor([0.5, 0.2])[: len(seeds)]
    checkpoints = [EpochModel(lm, float(lr)) for lm, lr in zip(models, rates, strict=True)]
    ours = score_tracin(checkpoints, SCORED, TRAINING, 3).plain
    theirs = TracInAttributor(
        make_task([make(seed) for seed in seeds], "loss"), rates, normalized_grad=False
    )
    theirs.projector_kwargs = None
    with sdpa_kernel(SDPBackend.MATH):
        each = theirs.attribute(load(TRAINING.tokens), load(SCORED))
    expected = torch.stack([each[k == LABELS].mean(0) for k in range(3)])
    assert_close(ours, expected, rtol=1e-4, atol=1e-6)


def test_trak_with_our_projection(monkeypatch: pytest.MonkeyPatch) -> None:
    from dattri.algorithm import trak

    lm = make(0)
    projection = draw_projection(lm, 6, seed=3)

    def project(*_: object, **__: object) -> Any:
        return lambda gradients, ensemble_id: gradients @ projection  # noqa: ARG005

    def find_p(parameters: Any, batch: tuple[Tensor, ...]) -> Tensor:
        p: Tensor = torch.func.functional_call(MeanP(lm), parameters, batch)
        return p

    monkeypatch.setattr(trak, "random_project", project)
    theirs = trak.TRAKAttributor(make_task([make(0)], "margin"), find_p)
    with sdpa_kernel(SDPBackend.MATH):
        each = theirs.attribute(load(SCORED), load(TRAINING.tokens))
    expected = torch.stack([each[k == LABELS].sum(0) for k in range(3)])
    model = project_gradients(lm, SCORED, TRAINING, projection)
    ours = score_trak([model], TRAINING, 3, damping=0.0)
    assert_close(ours.float(), expected, rtol=1e-3, atol=1e-5)


class MeanP(torch.nn.Module):
    """The mean probability of the tokens of a document."""

    def __init__(self, lm: SourceModel) -> None:
        super().__init__()
        self.lm = lm

    def forward(self, document: Tensor) -> Tensor:
        p = ScoredOutput(self.lm).compute_log_p(document[:, None]).exp()
        return p.mean()


def test_linear_datamodeling_score() -> None:
    lds = pytest.importorskip("dattri.metric.metrics").lds
    rng = np.random.default_rng(0)
    scores, values = rng.normal(size=(3, 5)), rng.normal(size=(8, 5))
    held = list_subsets(3)
    # dattri takes subsets of equal size: a document without a score fills them up.
    padded = torch.from_numpy(np.vstack([scores, np.zeros(5)]))
    indices = torch.tensor([[k if row[k] else 3 for k in range(3)] for row in held])
    theirs, _ = lds(padded, (torch.from_numpy(values), indices))
    np.testing.assert_allclose(measure_lds(scores, values), theirs.numpy())
