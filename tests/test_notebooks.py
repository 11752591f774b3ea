"""The notebooks run, one after the other in one kernel: two that start at once share a port.

Libraries are imported once; each notebook begins without a name of those before it. Notebooks
that train for a minute run in `make docs` and `make nightly`; here their imports are tried, and
tests of the tasks train what they train.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LONG = ("06_driving", "09_reasoning", "10_flow", "11_attribution")


@pytest.fixture(scope="module")
def client() -> Iterator[NotebookClient]:
    """A client with a kernel that runs in the folder of the notebooks."""
    place = {"metadata": {"path": str(FOLDER)}}
    client = NotebookClient(
        nbformat.v4.new_notebook(), timeout=600, kernel_name="python3", resources=place
    )
    with client.setup_kernel():
        yield client


def mark_long(path: Path) -> Any:
    mark = pytest.mark.nightly if path.stem in LONG else pytest.mark.slow
    return pytest.param(path, id=path.stem, marks=mark)


@pytest.mark.parametrize("path", [mark_long(path) for path in NOTEBOOKS])
def test_a_notebook_runs(path: Path, client: NotebookClient) -> None:
    client.nb = nbformat.read(path, as_version=4)
    client.nb.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))
    client.execute(cleanup_kc=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", LONG)
def test_a_long_notebook_imports_what_there_is(name: str) -> None:
    cells = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4).cells
    first = next(cell.source for cell in cells if cell.cell_type == "code")
    imports = first.partition("\n\ntorch.set_num_threads")[0]
    assert imports.count("import") > 10
    with mpl.rc_context():
        exec(imports, {})
