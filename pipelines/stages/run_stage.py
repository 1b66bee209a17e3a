"""Runs one stage, in a worker."""
from __future__ import annotations

import importlib
import time
from pathlib import Path
from typing import Any

from pipelines.engine import workers
from pipelines.engine.journal import NAME, Journal
from pipelines.engine.store import Artifact, Store, writable
from pipelines.recipe.recipe import Recipe
from pipelines.stages.context import Context


def run_stage(
        stage: str, key: str, recipe: dict[str, Any], store: Store, inputs: dict[str, Path], again: bool) -> Artifact:
    """Make the artifact of a stage, unless another run has made it in the meantime.

    Args:
        recipe: as `Recipe.written` gives it.
        inputs: stage name to the folder of its artifact.
        again: make the artifact even if it is there.
    """
    with store.lock(stage, key):
        existing = None if again else store.find(stage, key)
        if existing is not None:
            return existing
        work = store.work(stage, key)
        with writable(work):
            work.mkdir(parents=True, exist_ok=True)
            journal = Journal(work / NAME)
        started = time.monotonic()
        module = importlib.import_module(f"pipelines.stages.{stage}")
        workers.report(started=True)
        summary = module.run(Context(Recipe.model_validate(recipe), work, inputs, journal))
        seconds = time.monotonic() - started
        journal.write("done", seconds=round(seconds, 3), summary=summary)
        with writable(work):
            return store.commit(stage, key, seconds, summary)
