"""The loss of every arm: cross-entropy of the said or hidden words, and CODI's distillation.

    CE(student) + alpha mean_l smooth_l1(s_l, t_l) / std(t_l) + beta CE(teacher)

t_l, s_l: hidden states of layer l at ANSWER, the token before the answer. The same network is
the teacher t with all steps and the student s with thoughts instead; no gradient reaches t_l
(Shen et al. 2025, arXiv 2502.21074). Axes: U tokens that are said, B samples, D channels.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from neuro.io.run_folder import RunError
from neuro.nn.recurrent_depth import draw_depth
from tasks.reasoning.config import ReasoningConfig
from tasks.reasoning.curriculum import ReasoningBatch
from tasks.reasoning.items import ANSWER, PAD
from tasks.reasoning.masked_items import MaskedBatch
from tasks.reasoning.masking import compute_hidden_loss
from tasks.reasoning.model import ReasoningModel


def loss(
    config: ReasoningConfig,
    model: nn.Module,
    batch: ReasoningBatch | MaskedBatch,
    at: float,  # noqa: ARG001
) -> Tensor:
    """Return the mean loss of a batch; a recurrent core has one depth for the whole batch."""
    head, codi = require_reasoning(model).head, config.arm == "codi"
    if isinstance(batch, MaskedBatch):
        reading, _ = model(batch.question, 0, batch.said, hidden=batch.hidden)
        tokens = torch.cat([batch.question, batch.said])
        return compute_hidden_loss(head(reading.hidden), tokens, batch.weight)
    depth = choose_depth(config, batch.question) if config.depth else None
    reading, _ = model(batch.question, len(batch.thoughts), batch.said, codi, depth)
    own = compute_said_loss(head(reading.hidden), batch.said)
    if not codi:
        return own
    teacher, _ = model(batch.question, 0, batch.taught, codi, depth)
    apart = compute_distillation(
        pick_answer(reading.layers, batch.said), pick_answer(teacher.layers, batch.taught)
    )
    taught = compute_said_loss(head(teacher.hidden), batch.taught)
    return own + config.alpha * apart + config.beta * taught


def choose_depth(config: ReasoningConfig, question: Int64[Tensor, "T B"]) -> int:
    """Return the number of iterations in a training step.

    A dry run, whose tensors have no values, takes the largest number that autograd keeps.
    """
    if question.is_meta and config.depth_sampling == "poisson":
        return max(config.depth, config.gradient_depth)
    return draw_depth(config)


def require_reasoning(model: nn.Module) -> ReasoningModel:
    """Return the model, unwrapped from the module that parallel training adds."""
    inner = getattr(model, "module", model)
    if not isinstance(inner, ReasoningModel):
        raise RunError(f"{type(inner).__name__} does not reason; tasks.reasoning builds one")
    return inner


def compute_said_loss(logits: Float[Tensor, "U B V"], said: Int64[Tensor, "U B"]) -> Tensor:
    """Return the mean cross-entropy [nat] of each word given the words before it."""
    return F.cross_entropy(
        logits[:-1].flatten(0, 1).float(), said[1:].flatten(), ignore_index=PAD
    )


def pick_answer(
    layers: Sequence[Float[Tensor, "U B D"]], said: Int64[Tensor, "U B"]
) -> list[Float[Tensor, "B D"]]:
    """Return the hidden states of each layer at ANSWER."""
    at = (said == ANSWER).int().argmax(0)
    samples = torch.arange(said.shape[1], device=said.device)
    return [hidden[at, samples] for hidden in layers]


def compute_distillation(
    student: Sequence[Float[Tensor, "B D"]], teacher: Sequence[Float[Tensor, "B D"]]
) -> Tensor:
    """Return the mean over layers of smooth L1 over the deviation of the teacher's states."""
    each = [
        F.smooth_l1_loss(s, t.detach()) / t.detach().std()
        for s, t in zip(student, teacher, strict=True)
    ]
    return torch.stack(each).mean()
