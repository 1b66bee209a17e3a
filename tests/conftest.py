"""What tests share: a small recipe on real digits, one run of it, and the command line."""
from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from pipelines.engine import workers
from tests.parallel import shared

if TYPE_CHECKING:
    from tests.pipelines.tasks.language_model.exported import Exported

os.environ.update({**workers.ENVIRONMENT, "MLFLOW_DISABLE_TELEMETRY": "true"})

STAGES = ("ingest", "train", "evaluate", "compress", "export", "verify", "package")
ROOT = Path(__file__).resolve().parent.parent
TINY = """\
name: tiny
data:
  source: digits
  image: {size: 8, channels: 3}
  augment: [{shift: 0.1}, {rotate: 10}]
  batch: 64
model:
  builder: resnet8
  width: 8
train:
  epochs: 4
  schedule: {one_cycle: {peak: 0.02}}
  callbacks: [{early_stopping: {patience: 3}}]
verify: {runs: 20}
gates:
  accuracy: ">= 0.8"
  int8.drop: "<= 0.02"
"""


class Said(NamedTuple):
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def give_memory_back(request):
    """After a long test, the graphs that TensorFlow keeps of every model there was: gigabytes in a whole run."""
    yield
    if request.node.get_closest_marker("slow"):
        import gc

        for name in {"keras", "tf_keras"} & set(sys.modules):
            sys.modules[name].backend.clear_session()
        gc.collect()


@pytest.fixture(autouse=True)
def forget_seeds():
    """TensorFlow's seed is one for the whole process: what a test set is not the next one's."""
    yield
    if "tensorflow" in sys.modules:
        sys.modules["tensorflow"].random.set_seed(None)


@pytest.fixture
def litepress(capfd, monkeypatch) -> Callable[..., Said]:
    """Runs the command line in this process, where the server of workers is kept from one test to the next."""
    def run(*arguments: object) -> Said:
        capfd.readouterr()
        code = exit_code(monkeypatch, *arguments)
        out, err = capfd.readouterr()
        return Said(code, out, err)

    return run


def exit_code(patch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Runs the command line in this process; returns how it ended."""
    from pipelines import cli

    patch.setattr(sys, "argv", ["litepress", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def run_here(*arguments: object, cwd: Path) -> Said:
    """Runs the command line in this process, in a folder, where a fixture of a module wants it."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.chdir(cwd)
        code = exit_code(patch, *arguments)
    return Said(code, out.getvalue(), err.getvalue())


def command(*arguments: object, cwd: Path, **options) -> subprocess.CompletedProcess:
    """Runs the installed command in a process of its own."""
    return subprocess.run([str(Path(sys.executable).with_name("litepress")), *map(str, arguments)], cwd=cwd,
                          capture_output=True,
                          text=True, timeout=600, **options)


@pytest.fixture
def recipe_file_of(tmp_path) -> Callable[..., Path]:
    """Writes the small recipe with some text replaced."""
    def write(*replacements: tuple[str, str]) -> Path:
        text = TINY
        for old, new in replacements:
            assert old in text, old
            text = text.replace(old, new, 1)
        path = tmp_path / "recipe.yaml"
        path.write_text(text)
        return path

    return write


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory) -> Path:
    """A working folder in which the small recipe was run once: recipe.yaml, results.json, runs/. Tests must not change
    it."""
    def make(folder: Path) -> None:
        (folder / "recipe.yaml").write_text(TINY)
        done = command("run", "recipe.yaml", "--json", "results.json", cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr
        (folder / "printed.txt").write_text(done.stdout)

    return shared(tmp_path_factory, "tiny", make)


@pytest.fixture(scope="session")
def served_gpt(tmp_path_factory) -> Exported:
    """A small language model, and its SavedModel, saved once. Tests must not change it."""
    from tests.pipelines.tasks.language_model import exported

    return exported.opened(shared(tmp_path_factory, "gpt", lambda folder: exported.write(folder, "gpt")), "gpt")


@pytest.fixture
def work(tiny_run, tmp_path, monkeypatch) -> Path:
    """A working folder of one's own with the small recipe's run in it; the test runs there."""
    shutil.copytree(tiny_run, tmp_path / "work", symlinks=True)
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def digests(folder: Path) -> dict[str, str]:
    """Stage to the digest of its artifact, of the latest run."""
    latest = folder / "runs" / "tiny" / "latest"
    return {name: json.loads((latest / name / "artifact.json").read_text())["digest"] for name in STAGES
            if (latest / name).exists()}
