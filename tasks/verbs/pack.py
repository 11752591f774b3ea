"""``neuro pack``: the model of a run in a file, with two bits a ternary weight."""

from pathlib import Path

from neuro.io.run_folder import Run, RunError
from neuro.io.store import StoreError, load_tensors
from tasks.verbs.generate import require_text_run

FILE = "packed.safetensors"


def pack_run(run: Run, out: Path | None) -> tuple[Path, str]:
    """Write the packed model of a run; return the file, and its size in words.

    out: the file; None: packed.safetensors in the run folder.

    Raises:
        RunError: the run is of another task, not trained yet, or its weights are not ternary;
            or ``out`` holds something else.
        StoreError: the file cannot be written.
    """
    from tasks.language.packed import measure_size, save_packed
    from tasks.verbs.generate import load_writer

    config = require_text_run(run)
    path = run.folder / FILE if out is None else out
    if path.is_dir():
        raise RunError(f"--out {path}: is a folder; name a file, such as {path / FILE}")
    if out is not None and path.exists():
        _require_packed(path)
    model = load_writer(run.folder, packed=True).model
    save_packed(path, model, config)
    size = measure_size(model)
    told = (
        f"{size.weights:,} ternary weights in {size.bits:.2f} bits each, scales included; "
        f"{size.packed + size.rest:,} bytes in memory with all that is no ternary weight, "
        f"{4 * size.weights + size.rest:,} before; the file has {path.stat().st_size:,}"
    )
    return path, told


def _require_packed(path: Path) -> None:
    """Raise unless a file that would be overwritten is a packed model."""
    from tasks.language.packed import KIND

    try:
        load_tensors(path, KIND)
    except StoreError as error:
        raise RunError(
            f"--out {path}: would be overwritten, and is no packed model; name another file, "
            "or remove it"
        ) from error
