"""Distances of the prior's latents from the posterior's.

    mmd = mean over T, B, Z of (s(q) - s(p))^2        s[t] = s[t-1] + (q[t] - s[t-1]) / 2
    kl  = mean over B of the sum over T, Z of
          q log((q + e) / (p + e)) + (1 - q) log((1 - q + e) / (1 - p + e)),      e = 0.01
    gaussian = mean over B of the sum over Z of (m^2 + v - log v - 1) / 2

q, p: probabilities of a bit under posterior and prior (Kamata et al. 2022); s is a postsynaptic
potential. m, v: mean and variance of the ANN's posterior, whose prior is N(0, 1).
Axes: T ticks, B samples, Z bits.
"""

import math
from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from neuro.neurons import LI, run_population
from neuro.nn.layers import DT
from neuro.units import Seconds

Distance = Callable[[Tensor, Tensor], Tensor]
FLOOR = 1e-2
SYNAPSE = LI(tau=Seconds(DT / math.log(2)), gain=0.5)


def mmd(q: Float[Tensor, "T B Z"], p: Float[Tensor, "T B Z"]) -> Float[Tensor, ""]:
    """Return the squared distance of the postsynaptic potentials."""
    return run_population(SYNAPSE, q - p, DT)[0].square().mean()


def bernoulli_kl(q: Float[Tensor, "T B Z"], p: Float[Tensor, "T B Z"]) -> Float[Tensor, ""]:
    """Return the divergence of the bits; a floor keeps it finite."""
    ones = q * torch.log((q + FLOOR) / (p + FLOOR))
    zeros = (1 - q) * torch.log((1 - q + FLOOR) / (1 - p + FLOOR))
    return (ones + zeros).sum((0, 2)).mean()


def gaussian_kl(
    mean: Float[Tensor, "B Z"], log_variance: Float[Tensor, "B Z"]
) -> Float[Tensor, ""]:
    """Return the divergence of N(mean, variance) from N(0, 1)."""
    return ((mean.square() + log_variance.exp() - log_variance - 1) / 2).sum(1).mean()


DISTANCES: Mapping[str, Distance] = {"mmd": mmd, "kl": bernoulli_kl}
