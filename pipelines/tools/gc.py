"""`litepress gc`: frees what no run refers to."""
from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from pipelines.engine import runs
from pipelines.engine.store import Store
from pipelines.errors import UserError


def collect(root: Path, dry_run: bool) -> Iterator[str]:
    """Delete artifacts, interrupted work and trash below `root/.store` that no run needs; yield a line for each.

    Work that some process is doing right now is left alone. Raises UserError where there is no such folder.
    """
    if not root.is_dir():
        raise UserError(f"{root}: there is no such folder of runs. Give it with --runs")
    store = Store(root / runs.STORE)
    needed = {record.artifact for run in runs.all_runs(root) for record in run.record.stages.values()}
    freed = 0
    for folder in _candidates(store):
        if folder.parent != store.root / ".trash" and folder.name in needed:
            continue
        if folder.parent.name == ".work" and store.busy(folder):
            continue
        size = store.size(folder)
        freed += size
        yield f"{'would free' if dry_run else 'freed'} {size / 1e6:8.1f} MB  {folder.relative_to(store.root)}"
        if not dry_run:
            shutil.rmtree(folder)
            folder.with_suffix(".lock").unlink(missing_ok=True)
    yield f"{freed / 1e6:.1f} MB {'could be freed' if dry_run else 'freed'}"


def _candidates(store: Store) -> list[Path]:
    parents = [folder for folder in (store.root, store.root / ".work", store.root / ".trash") if folder.is_dir()]
    return [child for folder in parents for child in sorted(folder.iterdir())
            if child.is_dir() and child.name not in (".work", ".trash")]
