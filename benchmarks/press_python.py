"""What `import litepress` must reach, for `press.py`: how long it takes, and that it gives the command's figures."""
from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from compression import Row

ROOT = Path(__file__).resolve().parent.parent
RECIPE = ROOT / "recipes" / "vision" / "digits.yaml"
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"
#: Seconds.
IMPORT, EXECUTED = 0.3, 120.0
#: What is another each time: when, where, how fast.
OF_THIS_TIME = {"run_id", "folder", "path", "stages", "latency_ms", "bundle", "report", "recipe"}


def rows() -> list[Row]:
    """Return the time of the import and of the notebook, and what differs of digits trained from Python and by the
    command."""
    light = min(_seconds_of_import() for _ in range(5))
    with tempfile.TemporaryDirectory() as folder:
        differences = _digits(Path(folder))
        executed = _notebook(Path(folder))
    return [
        Row("import litepress", f"{light:.3f} s", f"< {IMPORT:g} s", light < IMPORT),
        Row("digits from Python: figures that are not the command's", ", ".join(differences) or "none", "none",
            not differences),
        Row("docs/notebook.ipynb, executed", f"{executed:.0f} s", f"<= {EXECUTED:g} s", executed <= EXECUTED)]


def _seconds_of_import() -> float:
    look = "import time; begin = time.perf_counter(); import litepress; print(time.perf_counter() - begin)"
    return float(subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout)


def _digits(work: Path) -> list[str]:
    """Train digits by the command and from Python, each in a folder of its own; return which figures differ."""
    command = Path(sys.executable).with_name("litepress")
    subprocess.run([command, "run", RECIPE, "--runs", "command", "--no-track", "--json", "command.json"], cwd=work,
                   check=True)
    code = (f"import litepress; results = litepress.run({str(RECIPE)!r}, runs='python', track=False, quiet=True); "
            "print(results.model_dump_json())")
    python = subprocess.run([sys.executable, "-c", code], cwd=work, check=True, capture_output=True, text=True).stdout
    first, second = (_lasting(json.loads(text)) for text in ((work / "command.json").read_text(), python))
    return [name for name in first if first[name] != second[name]]


def _lasting(value: Any) -> Any:
    """Return results without what is another each time; of served answers the protocols' figures stay."""
    if isinstance(value, dict):
        return {name: _lasting(inner) for name, inner in value.items() if name not in OF_THIS_TIME}
    return [_lasting(inner) for inner in value] if isinstance(value, list) else value


def _notebook(work: Path) -> float:
    """Execute the notebook as it lies in docs/; return how many seconds that takes."""
    shutil.copy(NOTEBOOK, work)
    begin = time.monotonic()
    subprocess.run([Path(sys.executable).with_name("jupyter-execute"), NOTEBOOK.name], cwd=work, check=True)
    return time.monotonic() - begin
