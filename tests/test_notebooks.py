"""The notebooks run, one after the other in one kernel: two that start at once share a port.

Libraries are imported once; each notebook begins without a name of those before it.
"""

from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.fixture(scope="module")
def client() -> Iterator[NotebookClient]:
    """A client with a kernel that runs in the folder of the notebooks."""
    place = {"metadata": {"path": str(FOLDER)}}
    client = NotebookClient(
        nbformat.v4.new_notebook(), timeout=600, kernel_name="python3", resources=place
    )
    with client.setup_kernel():
        yield client


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_a_notebook_runs(path: Path, client: NotebookClient) -> None:
    client.nb = nbformat.read(path, as_version=4)
    client.nb.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))
    client.execute(cleanup_kc=False)
