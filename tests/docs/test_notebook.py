"""docs/notebook.ipynb: it runs, and it was saved as it ran."""
from pathlib import Path

import nbformat

from docs.execute import NOTEBOOK, executed

#: What a terminal is told to do, which no cell shows.
ESCAPE = "\x1b"


def code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shown(cell: nbformat.NotebookNode) -> list[str]:
    """The kinds of what a cell shows."""
    return [one.output_type if "data" not in one else sorted(one.data)[0] for one in cell.outputs]


def printed(cell: nbformat.NotebookNode) -> str:
    return "".join(one.get("text", "") for one in cell.outputs)


def test_the_notebook_runs_and_shows_what_it_was_saved_with(tmp_path, monkeypatch):
    """Its assertions are the test of what it says; a kernel has an event loop, and TensorFlow and a model loaded."""
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    saved = code(nbformat.read(NOTEBOOK, as_version=4))
    (tmp_path / "work").mkdir()
    ran = code(executed(tmp_path / "work"))
    assert [shown(cell) for cell in ran] == [shown(cell) for cell in saved]
    assert [cell.execution_count for cell in saved] == list(range(1, len(saved) + 1))
    for cells in (ran, saved):
        assert ESCAPE not in "".join(map(printed, cells))
        mistake, gate = printed(cells[-1]).splitlines()
        assert mistake == "recipe with --set: train.epoch is not a setting. Did you mean train.epochs?"
        assert gate.startswith("gate accuracy: ") and gate.endswith(" misses the limit >= 0.9999")
    assert printed(ran[-2]).startswith("Server of tiny: gRPC") and printed(ran[-2]).count("\n") == 1
    assert {path.name for path in Path(tmp_path / "work" / "runs").iterdir()} == {".given", ".store", "small", "tiny"}
