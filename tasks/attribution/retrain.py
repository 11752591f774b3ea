"""Language models retrained on every subset of the protected corpora: the causal truth T3.

    v(S)(y) = log p(y) [nat] under a language model of the free corpora and of those in S

All models of a seed, 2^K, have the same initial weights, learning rate and number of readings
per document. Without free corpora the empty subset has the initial weights.
Axes: S subsets, K protected corpora, N documents.

Exact Shapley values of K corpora, from the values of all 2^K subsets.

    phi_k = sum over S without k of |S|! (K - 1 - |S|)! / K! (v(S + k) - v(S))

Source: Shapley 1953. Subset number s holds corpus k if bit k of s is 1, so the first subset is
empty and the last one holds all. Axes: S subsets, K corpora.
"""

from collections.abc import Callable
from math import factorial

import numpy as np
import torch
from jaxtyping import Bool, Float64

from neuro.io.run_folder import RunError
from neuro.training.plan import scale_lr
from tasks.attribution.causes import EpochModel
from tasks.attribution.config import AttributionConfig
from tasks.attribution.documents import Documents, load
from tasks.attribution.model import SourceModel, make_lm
from tasks.attribution.training import train_lm


def list_subsets(corpora: int) -> Bool[np.ndarray, "S K"]:
    """Return which corpora each subset holds; the empty one is first, all corpora are last.

    Raises:
        ValueError: there is no corpus.
    """
    if corpora < 1:
        raise ValueError(f"subsets of {corpora} corpora; give at least one corpus")
    return np.asarray(np.arange(2**corpora)[:, None] >> np.arange(corpora) & 1, bool)


def drop_one(corpora: int) -> list[int]:
    """Return the number of the subset without corpus k, for each k."""
    return [2**corpora - 1 - 2**k for k in range(corpora)]


def count_corpora(values: Float64[np.ndarray, "S ..."]) -> int:
    """Return K, given the values of all 2^K subsets.

    Raises:
        ValueError: the number of values is not a power of two.
    """
    subsets = len(values)
    corpora = subsets.bit_length() - 1
    if corpora < 1 or 2**corpora != subsets:
        raise ValueError(
            f"{subsets} values are not those of all subsets of some corpora; give 2, 4, 8, ... "
            "in the order of list_subsets"
        )
    return corpora


def compute_shapley(values: Float64[np.ndarray, "S ..."]) -> Float64[np.ndarray, "K ..."]:
    """Return the share of each corpus in v(all) - v(none), in the unit of the values.

    values: of all subsets in the order of :func:`list_subsets`; further axes are separate
    games.

    Raises:
        ValueError: the number of values is not a power of two.
    """
    corpora = count_corpora(values)
    held = list_subsets(corpora)
    sizes = held.sum(1)
    by_size = [
        factorial(n) * factorial(corpora - 1 - n) / factorial(corpora) for n in range(corpora)
    ]
    weights = np.zeros((corpora, len(values)))
    for k in range(corpora):
        weights[k, held[:, k]] = [by_size[n - 1] for n in sizes[held[:, k]]]
        weights[k, ~held[:, k]] = [-by_size[n] for n in sizes[~held[:, k]]]
    return np.asarray(np.tensordot(weights, values, 1))


def compute_drops(values: Float64[np.ndarray, "S ..."]) -> Float64[np.ndarray, "K ..."]:
    """Return v(all) - v(all but k), for each corpus; values: as above."""
    return np.asarray(values[-1] - values[drop_one(count_corpora(values))])


def select_documents(config: AttributionConfig, held: Bool[np.ndarray, " K"]) -> Documents:
    """Return the training documents of the free corpora and of the protected ones in ``held``.

    Raises:
        ValueError: ``held`` has the wrong number of corpora.
    """
    if len(held) != config.protected:
        raise ValueError(
            f"a subset of {len(held)} corpora, and {config.protected} are protected; say of "
            "each whether it is held"
        )
    documents = load(config, "lm_train")
    read = torch.ones(config.seen, dtype=torch.bool)
    read[: config.protected] = torch.from_numpy(held)
    return documents.select(read[documents.labels])


def require_affordable(config: AttributionConfig) -> None:
    """Raise a RunError if 2^K exceeds the budget; the message names the K that would fit."""
    if 2**config.protected > config.budget:
        most = config.budget.bit_length() - 1
        raise RunError(
            f"{config.protected} protected corpora have {2**config.protected:,} subsets, each "
            f"a training, and budget is {config.budget}; protect {most} corpora, or set "
            f"budget={2**config.protected} if the time is there"
        )


def retrain(
    config: AttributionConfig,
    held: Bool[np.ndarray, " K"],
    seed: int,
    watch: Callable[[SourceModel], None] = lambda _: None,
) -> SourceModel:
    """Return the language model of a subset, in evaluation mode.

    seed: of the initial weights. watch: called with the model after each epoch.

    Raises:
        RunError: the subsets exceed the budget.
        TrainError: the training has diverged.
    """
    require_affordable(config)
    documents = select_documents(config, held)
    if not len(documents):
        return make_lm(config, seed).eval()
    return train_lm(config, documents, seed, watch=watch)


def retrain_with_checkpoints(
    config: AttributionConfig, held: Bool[np.ndarray, " K"], seed: int
) -> tuple[SourceModel, list[EpochModel]]:
    """Return the language model of a subset, and a checkpoint per epoch with its mean rate."""
    kept: list[SourceModel] = []

    def keep(lm: SourceModel) -> None:
        own = make_lm(config, seed)
        own.load_state_dict(lm.state_dict())
        kept.append(own.eval())

    lm = retrain(config, held, seed, keep)
    rates = list_rates(config, len(select_documents(config, held)))
    return lm, [EpochModel(own, rate) for own, rate in zip(kept, rates, strict=True)]


def list_rates(config: AttributionConfig, documents: int) -> list[float]:
    """Return the mean learning rate of each epoch; [] if there are no documents."""
    if not documents:
        return []
    epochs, steps = config.lm_epochs, -(-documents // config.batch)
    at = np.arange(epochs * steps) / (epochs * steps)
    rates = [scale_lr(config.lm_lr, config.warm, float(x)) for x in at]
    return [float(x) for x in np.reshape(rates, (epochs, steps)).mean(1)]
