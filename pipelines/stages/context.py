"""What a stage is given to do its work."""
from __future__ import annotations

import dataclasses
from pathlib import Path

from pipelines.engine import workers
from pipelines.engine.journal import Journal
from pipelines.ingest.sources.source import Index
from pipelines.recipe.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class Context:
    """The recipe, the artifacts of the stages before, and the folder to fill.

    Args:
        work: the folder that becomes the artifact. What an interrupted run left is still in it.
        inputs: stage name to the folder of its artifact.
        journal: parameters, metrics and notes go here.
    """

    recipe: Recipe
    work: Path
    inputs: dict[str, Path]
    journal: Journal

    def progress(self, done: float, text: str = "") -> None:
        """Tells whoever watches the share that is done, 0 to 1, and what is being done."""
        workers.say(done=done, text=text)

    def measured(self, epoch: int, metrics: dict[str, float]) -> None:
        """Tells whoever watches the metrics of an epoch, counted from 1."""
        workers.say(epoch=epoch, metrics=metrics)

    def index(self) -> Index:
        """The index that ingest drew up."""
        return Index.model_validate_json((self.inputs["ingest"] / "index.json").read_bytes())
