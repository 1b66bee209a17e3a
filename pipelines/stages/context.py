"""What a stage is given to do its work: the data, the trained model, what it is worth."""
from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

from etils import epy

from pipelines.engine import workers
from pipelines.engine.journal import Journal
from pipelines.ingest.data import Data
from pipelines.ingest.index import Index
from pipelines.recipe.recipe import Recipe
from pipelines.tasks.task import Evaluation
from pipelines.training.imported_model import trained

with epy.lazy_imports():
    import numpy as np

# What stages leave, by file name; lists of variants and of artifacts say theirs beside their types.
INDEX = "index.json"  # ingest
EVALUATION = "evaluation.json"  # evaluate
ORDER = "order.json"  # evaluate: whether the trained model answers in any order alike
REFERENCE = "reference"  # evaluate: a folder with the trained model's outputs, one .npy file each
SAMPLES = "samples.json"  # evaluate: positions of the golden samples in the test split
WORST = "worst.png"  # evaluate
LATENCY = "latency.json"  # compress and verify: measured, so no part of what the stage made
ANSWERS = "samples.npz"  # verify: every artifact's outputs on the golden samples


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
        """Tell whoever watches the share that is done, 0 to 1, and what is being done."""
        workers.report(done=done, text=text)

    def measured(self, epoch: int, metrics: dict[str, float]) -> None:
        """Tell whoever watches the metrics of an epoch, counted from 1."""
        workers.report(epoch=epoch, metrics=metrics)

    def index(self) -> Index:
        """Return the index that ingest made."""
        return Index.model_validate_json((self.inputs["ingest"] / INDEX).read_bytes())

    def data(self) -> Data:
        """Return the recipe's examples, as ingest divided them."""
        return Data(self.recipe.data, self.recipe.task, self.index(), self.recipe.seed)

    def model(self) -> Path:
        """Return the file of the trained model."""
        return trained(self.inputs["train"])

    def evaluation(self) -> Evaluation:
        """Return what the trained model is worth."""
        return Evaluation.model_validate_json((self.inputs["evaluate"] / EVALUATION).read_bytes())

    def reference(self) -> dict[str, np.ndarray]:
        """Return the trained model's outputs on the first examples of the test split, memory-mapped."""
        return reference(self.inputs["evaluate"])

    def samples(self) -> list[int]:
        """Return the positions of the golden samples in the test split."""
        return json.loads((self.inputs["evaluate"] / SAMPLES).read_bytes())


def reference(evaluated: Path) -> dict[str, np.ndarray]:
    """Return what evaluate kept of the trained model's outputs, by name, memory-mapped."""
    return {path.stem: np.load(path, mmap_mode="r") for path in sorted((evaluated / REFERENCE).glob("*.npy"))}


def without_log(message: str, work: Path) -> str:
    """Return a message of a worker without its pointer to the log, which moves with the artifact."""
    return message.removesuffix(f". See {work / 'log.txt'}")


def listed(values: Mapping[str, float], prefix: str = "", suffix: str = "") -> dict[str, float]:
    """Return numbers under names with something before and behind."""
    return {f"{prefix}{name}{suffix}": value for name, value in values.items()}
