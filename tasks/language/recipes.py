"""How language models are trained: with the plain recipe, or with published ones.

matmulfree  warm-up and cosine, with half the learning rate from the middle of the training on
            (Zhu et al. 2024, arXiv 2406.02528)
rwkv        AdamW (0.9, 0.99) with an epsilon of 1e-18; the decay w0 learns at twice the rate;
            w0, low-rank maps, the bonus u and the token shift have no weight decay (the
            trainers of Peng et al. 2024 and 2025, arXiv 2404.05892 and 2503.14456, except a
            second stage on the Pile)
"""

from functools import partial

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from neuro.training import Group, Plan
from neuro.training.plan import scale_lr
from tasks.language.config import LanguageConfig
from tasks.runs import configuration

RWKV_GROUPS = (
    Group(parameters=("*time_decay", "*.w0"), lr=2.0, decay=False),
    Group(
        parameters=(
            *("*time_decay_w?", "*time_faaaa", "*time_mix_*", "*time_maa_*"),
            *("*.[wavg][012]", "*.x_?", "*.k_[ka]", "*.r_k"),  # of RWKV-7
        ),
        decay=False,
    ),
)
RWKV_ADAM = partial(torch.optim.AdamW, betas=(0.9, 0.99), eps=1e-18)


def make_plan(config: LanguageConfig) -> Plan:
    """Return the training plan of a configuration; each epoch ends with a validation.

    Raises:
        ValueError: the recipe is "rwkv", but the stack has no time mixing of RWKV.
    """
    plain = partial(configuration.make_plan, config, epochs=config.validations)
    if config.recipe == "matmulfree":
        return plain(warm=0.0, schedule=partial(schedule_halving, config.warm))
    if config.recipe == "plain":
        return plain()
    if not set(config.layers) & {"rwkv5", "rwkv6", "rwkv7"}:
        raise ValueError(
            f"recipe 'rwkv' sets the learning rates of RWKV's time mixing, and {config.stack} "
            "has none; take 'plain'"
        )
    return plain(optimizer=RWKV_ADAM, groups=RWKV_GROUPS)


def schedule_halving(warm: float, optimizer: Optimizer, updates: int) -> LambdaLR:
    """Return a schedule: warm-up and cosine, halved from the middle of the training on.

    warm: as in :class:`neuro.training.Plan`.
    """

    def scale(update: int) -> float:
        return scale_lr(1.0 if 2 * update < updates else 0.5, warm, update / updates)

    return LambdaLR(optimizer, scale)
