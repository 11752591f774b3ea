"""Text generation, token by token; recurrent models need constant memory."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from drivers.text import Tokenizer
from neuro.training.diagnosis import find_nonfinite

PART = 64  # tokens of a prompt per forward pass


def generate(
    model: torch.nn.Module,
    tokenizer: Tokenizer,
    prompt: bytes,
    temperature: float = 1.0,
    seed: int = 0,
) -> Iterator[bytes]:
    """Yield the bytes of one token after the other, without end or until a text ends.

    Args:
        model: a LanguageModel, packed or not, in evaluation mode.
        tokenizer: the tokenizer that the model was trained with.
        prompt: the text to continue; empty means the beginning of a text.
        temperature: divides the logits; 0 takes the most probable token.
        seed: seed of the random draws.

    Raises:
        ValueError: the temperature is negative, infinite or no number; or the logits are not
            finite.
    """
    if not 0 <= temperature < math.inf:
        raise ValueError(
            f"temperature must be >= 0 and finite, got {temperature}; 0 takes the likeliest"
        )
    drawn = torch.Generator().manual_seed(seed)
    start = tokenizer.encode(prompt).tolist()
    decode = tokenizer.follow(start)
    tokens, state = torch.tensor([tokenizer.begin, *start]).unsqueeze(1), None
    while True:
        logits, state = read_parts(model, tokens, state)
        token = _draw(logits[: tokenizer.size].float(), temperature, drawn)
        if token == tokenizer.end:
            return
        yield decode(token)
        tokens = torch.tensor([[token]])


@torch.no_grad()
def read_parts(
    model: torch.nn.Module, tokens: Tensor, state: Any
) -> tuple[Float[Tensor, " V"], Any]:
    """Read a text (T 1) in parts; return (logits after the last token, state).

    Raises:
        ValueError: the logits are not finite.
    """
    for part in torch.split(tokens, PART):
        before = state
        logits, state = model(part, before)
    last = logits[-1, 0].clone()
    if not last.isfinite().all():
        where = find_nonfinite(model, lambda: model(part, before)) or "its state"
        raise ValueError(
            f"the model says no next token: {where} holds NaN or infinity; restore its weights "
            "from a copy, or train it again with a smaller learning rate"
        )
    return last, state


def _draw(logits: Tensor, temperature: float, drawn: torch.Generator) -> int:
    if temperature == 0:
        return int(logits.argmax())
    below = logits.double() - logits.max()  # at most 0, so the quotient cannot overflow upwards
    share = torch.softmax(below / temperature, 0)
    return int(torch.multinomial(share, 1, generator=drawn))
