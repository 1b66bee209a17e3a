"""Executes docs/notebook.ipynb and keeps in it what it shows: `make notebook`."""
from __future__ import annotations

import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).with_name("notebook.ipynb")
#: Seconds that a cell may take.
LONGEST = 600


def executed(folder: Path) -> nbformat.NotebookNode:
    """Return the notebook as it shows itself when it is run in a folder: without what is said on standard error, where
    TensorFlow tells of the machine, and without when each cell ran."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=LONGEST, kernel_name="python3", coalesce_streams=True, record_timing=False,
                   resources={"metadata": {"path": str(folder)}}).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr"]
    return notebook


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as where:
        nbformat.write(executed(Path(where)), NOTEBOOK)
