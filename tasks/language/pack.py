"""``neuro pack``: write the model of a run to a file, with two bits per ternary weight."""

from pathlib import Path

from neuro.io.run_folder import Run, RunError
from neuro.io.store import StoreError, load_tensors
from tasks.language.writer import require_text_run

FILE = "packed.safetensors"


def pack_run(run: Run, out: Path | None) -> tuple[Path, str]:
    """Write the packed model of a run; return the file, and a sentence about its size.

    out: path of the file; None means packed.safetensors in the run folder.

    Raises:
        RunError: the run is of another task, is not trained yet, or has no ternary weights; or
            ``out`` holds something else.
        StoreError: the file cannot be written.
    """
    from tasks.language.packed import measure_size, save_packed
    from tasks.language.writer import load_writer

    config = require_text_run(run)
    path = run.folder / FILE if out is None else out
    if path.is_dir():
        raise RunError(f"--out {path} is a folder; name a file, such as {path / FILE}")
    if out is not None and path.exists():
        _require_packed(path)
    model = load_writer(run.folder, packed=True).model
    save_packed(path, model, config)
    size = measure_size(model)
    sizes = (
        f"{size.weights:,} ternary weights in {size.bits:.2f} bits each, scales included; "
        f"{size.packed + size.rest:,} bytes in memory with all other weights, "
        f"{4 * size.weights + size.rest:,} before; the file has {path.stat().st_size:,}"
    )
    return path, sizes


def _require_packed(path: Path) -> None:
    """Raise unless the file at ``path`` is a packed model, because it will be overwritten."""
    from tasks.language.packed import KIND

    try:
        load_tensors(path, KIND)
    except StoreError as error:
        raise RunError(
            f"--out {path} would be overwritten, but is not a packed model; name another file, "
            "or remove it"
        ) from error
