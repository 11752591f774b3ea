"""``neuro generate``: text from the model of a run or of a packed file."""

import math
from codecs import getincrementaldecoder
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from neuro.io.run_folder import Run, RunError
from neuro.io.store import StoreError
from tasks.runs.settings import require_seed


class Writer(NamedTuple):
    """A model that writes text, in evaluation mode, and its configuration."""

    model: Any
    config: Any


def load_writer(path: Path, packed: bool = False) -> Writer:
    """Return the model of a run folder, or of a file that ``neuro pack`` wrote.

    packed: hold ternary weights in two bits each, as a packed file always does.

    Raises:
        RunError: the run is of another task, is not trained yet, or has no ternary weights; or
            the file is damaged, or is not a packed model.
    """
    from neuro.nn.ternary import pack_model
    from tasks.language.packed import load_packed
    from tasks.runs.find import is_file, open_folder
    from tasks.runs.trained_run import load_trained_model

    if path.is_file() and not is_file(str(path)):  # a file, but not the file of a task
        try:
            return Writer(*load_packed(path))
        except StoreError as error:
            why = f"{path} is a checkpoint of torch" if path.suffix == ".pth" else error
            raise RunError(
                f"{why}. neuro generate takes the folder of a run, or a file that neuro pack "
                "wrote; Python reads published checkpoints of RWKV: tasks.language.rwkv"
            ) from error
    run = open_folder(path)
    config = require_text_run(run)
    if packed and config.linear not in ("ternary", "spiking"):
        raise RunError(
            f"{path} has {config.linear} weights: only ternary and spiking models can be "
            "packed; train language:small_matmulfree, say, or let neuro generate use the run "
            "as it is"
        )
    model = load_trained_model(run)
    return Writer(pack_model(model) if packed else model, config)


def require_text_run(run: Run) -> Any:
    """Return the configuration of a run of a language model.

    Raises:
        RunError: the run is of another task, or a hybrid.
    """
    from tasks.language.config import LanguageConfig
    from tasks.language.hybrids import HybridConfig

    if not isinstance(run.config, LanguageConfig):
        raise RunError(
            f"{run.folder} is a run of {run.task}, which writes no text; give a run of language"
        )
    if isinstance(run.config, HybridConfig):
        raise RunError(
            f"{run.folder} is a run of {run.task}: its short convolutions keep no state from "
            "token to token, so that a text would be written without the tokens before; give a "
            "run of language"
        )
    return run.config


def generate_text(
    writer: Writer, prompt: str, tokens: int, temperature: float, seed: int
) -> Iterator[str]:
    """Yield the prompt, then pieces of the text after it, at most ``tokens`` tokens in total.

    Raises:
        ValueError: the seed is out of range, see :func:`tasks.runs.settings.require_seed`.
        RunError: ``tokens`` is negative, prompt and text exceed what the model can read, the
            temperature is negative, infinite or NaN, or the prompt is not UTF-8.
    """
    from tasks.language.data import find_tokenizer
    from tasks.language.generate import generate

    if tokens < 0:
        raise RunError(f"--tokens must be >= 0, got {tokens}; 200 is usual")
    if not 0 <= temperature < math.inf:
        raise RunError(
            f"--temperature must be >= 0 and finite, got {temperature}; 1 is usual, and 0 "
            "takes the most probable token"
        )
    require_seed(seed)
    decoder = getincrementaldecoder("utf-8")(errors="replace")
    config, tokenizer = writer.config, find_tokenizer(writer.config)
    try:
        start = prompt.encode()
    except UnicodeEncodeError as error:  # the terminal did not decode some bytes
        raise RunError(
            f"--prompt is not UTF-8 at character {error.start}; convert it, with iconv say, or "
            "let the terminal use UTF-8"
        ) from error
    before = 1 + len(tokenizer.encode(start))
    if config.limit and not config.carries and before + tokens - 1 > config.limit:
        room = config.limit + 1 - before
        fewer = f" or generate {room:,}" if room > 0 else ""
        raise RunError(
            f"the prompt has {before - 1:,} tokens, --tokens {tokens:,} follow, and this model "
            f"reads {config.limit:,} at most; shorten the prompt{fewer}, or train a model with "
            "a larger limit"
        )
    pieces = islice(generate(writer.model, tokenizer, start, temperature, seed), tokens)
    first = next(pieces, b"")  # drawn before the prompt, as compiling kernels may print a line
    yield prompt
    for data in chain([first], pieces):
        yield decoder.decode(data)
    yield decoder.decode(b"", final=True)
