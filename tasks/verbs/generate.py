"""Let the model of a run write text."""

from codecs import getincrementaldecoder
from collections.abc import Iterator
from itertools import islice

from neuro.io.run_folder import Run, RunError


def generate_text(
    run: Run, prompt: str, tokens: int, temperature: float, seed: int
) -> Iterator[str]:
    """Yield the prompt, and pieces of up to ``tokens`` tokens of text behind it.

    Ternary layers are packed to two bits a weight.

    Raises:
        RunError: the run is of another task, or not trained yet; or tokens are negative.
    """
    from neuro.nn.ternary import BitLinear, pack_model
    from tasks.language.config import Config
    from tasks.language.data import find_tokenizer
    from tasks.language.generate import generate
    from tasks.verbs.trained_run import load_trained_model

    if not isinstance(run.config, Config):
        raise RunError(
            f"{run.folder} is a run of {run.task}, which writes no text; give a run of language"
        )
    if tokens < 0:
        raise RunError(f"--tokens must be >= 0, got {tokens}")
    model = load_trained_model(run)
    if any(isinstance(m, BitLinear) for m in model.modules()):
        model = pack_model(model)
    decoder = getincrementaldecoder("utf-8")(errors="replace")
    made = generate(model, find_tokenizer(run.config), prompt.encode(), temperature, seed)
    yield prompt
    for data in islice(made, tokens):
        yield decoder.decode(data)
    yield decoder.decode(b"", final=True)
