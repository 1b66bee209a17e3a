"""The record of a run: a folder with what was asked, what was made, and how good it is."""
from __future__ import annotations

import contextlib
import datetime
import json
import os
import subprocess
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from pipelines.engine.store import whole, writable
from pipelines.errors import UserError

RECORD = "run.json"
#: Folder of all artifacts, beside the runs' folders.
STORE = ".store"


class StageRecord(BaseModel):
    """A stage of a run: the artifact it made or found, by the name of its folder in the store."""

    key: str
    artifact: str
    state: Literal["running", "done", "failed"] = "running"
    cached: bool = False
    seconds: float = 0.0
    summary: str = ""


class RunRecord(BaseModel):
    """What is written in a run's folder, after every stage."""

    id: str
    recipe_path: str
    recipe: dict[str, Any]
    started: str
    command: list[str]
    git_commit: str | None
    status: Literal["running", "done", "failed", "gate"] = "running"
    error: str = ""
    stages: dict[str, StageRecord] = {}


class Run:
    """A run's folder.

    Args:
        folder: it holds the record, a link to each artifact, the report and the results.
        record: what is known so far; `save` writes it.
    """

    def __init__(self, folder: Path, record: RunRecord):
        self.folder, self.record = folder, record

    def save(self) -> None:
        """Write the record, in one rename."""
        write_whole(self.folder / RECORD, self.record.model_dump_json(indent=1))

    def link(self, stage: str) -> None:
        """Make the stage's artifact appear in the run's folder."""
        with whole(self.folder / stage) as beside:
            beside.symlink_to(Path("..", "..", STORE, self.record.stages[stage].artifact))

    def path(self, stage: str, name: str) -> Path:
        """Return a file of a stage's artifact, by way of the run's folder."""
        return self.folder / stage / name


def create(root: Path, name: str, key: str, recipe_path: str, recipe: dict[str, Any], command: list[str]) -> Run:
    """Return a new run's folder, `<root>/<name>/<time>-<key>`."""
    now = datetime.datetime.now()
    base = f"{now:%Y%m%d-%H%M%S}-{key[:6]}"
    with writable(root):
        (root / name).mkdir(parents=True, exist_ok=True)
        for suffix in ("", *(f"-{number}" for number in range(2, 100))):
            folder = root / name / (base + suffix)
            try:
                folder.mkdir()
                break
            except FileExistsError:
                continue
        run = Run(folder, RunRecord(id=folder.name, recipe_path=recipe_path, recipe=recipe, command=command,
                                    started=now.astimezone().isoformat(timespec="seconds"), git_commit=_git_commit()))
        run.save()
    return run


def make_latest(run: Run) -> None:
    """Point `<root>/<name>/latest` to the run."""
    beside = run.folder.parent / f".latest.{os.getpid()}"
    beside.unlink(missing_ok=True)
    beside.symlink_to(run.folder.name)
    beside.rename(run.folder.parent / "latest")


def load(folder: Path) -> Run:
    """Return the run in a folder. Raises UserError where there is none."""
    try:
        return Run(folder.resolve() if folder.is_symlink() else folder,
                   RunRecord.model_validate_json((folder / RECORD).read_bytes()))
    except FileNotFoundError:
        raise UserError(f"{folder} is not a run: it has no {RECORD}. Runs are folders like runs/digits/latest"
                        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / RECORD} cannot be read: {str(error).splitlines()[0]}") from None


def all_runs(root: Path, name: str = "*", skip_unreadable: bool = False) -> list[Run]:
    """Return the runs below a folder, oldest first. Raises UserError at a record that cannot be read, unless told to
    skip it."""
    result = []
    for path in sorted(root.glob(f"{name}/*/{RECORD}")):
        if not path.parent.is_symlink():
            with contextlib.suppress(*([UserError] if skip_unreadable else [])):
                result.append(load(path.parent))
    return result


def write_whole(path: Path, text: str) -> None:
    """Write a text file beside its place and rename it there."""
    with whole(path) as beside:
        beside.write_text(text)


def read_json(path: Path) -> Any:
    """Return the contents of a JSON file."""
    return json.loads(path.read_bytes())


def _git_commit() -> str | None:
    try:
        result = subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
                               capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None if result.returncode == 0 else None
