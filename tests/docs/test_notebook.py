"""docs/notebook.ipynb: it runs, and it was saved as it ran."""
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from tests.conftest import ROOT

NOTEBOOK = ROOT / "docs" / "notebook.ipynb"


def code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shown(cell: nbformat.NotebookNode) -> list[str]:
    """The kinds of what a cell shows."""
    return [one.output_type if "data" not in one else sorted(one.data)[0] for one in cell.outputs]


def test_the_notebook_runs_and_shows_what_it_was_saved_with(tmp_path, monkeypatch):
    """Its assertions are the test of what it says; a kernel has an event loop, and TensorFlow and a model loaded."""
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    saved = nbformat.read(NOTEBOOK, as_version=4)
    ran = nbformat.read(NOTEBOOK, as_version=4)
    (tmp_path / "work").mkdir()
    NotebookClient(ran, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path / "work")}}
                   ).execute()
    assert [shown(cell) for cell in code(ran)] == [shown(cell) for cell in code(saved)]
    assert [cell.execution_count for cell in code(saved)] == list(range(1, len(code(saved)) + 1))
    mistakes = [cell.outputs[0].text.splitlines()[0] for cell in (code(ran)[-1], code(saved)[-1])]
    assert mistakes == ["recipe with --set: train.epoch is not a setting. Did you mean train.epochs?"] * 2
    assert {path.name for path in Path(tmp_path / "work" / "runs").iterdir()} == {".given", ".store", "small", "tiny"}
